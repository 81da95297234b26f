import type { MiddlewareHandler } from "hono"
import { limits } from "../../limits.ts"
import { pathOf } from "../bridge.ts"
import { InvalidRequest } from "../failures.ts"
import { problemResponse } from "../problem.ts"

/** Refuses longer URLs than are read. */
export const urlLimit: MiddlewareHandler = async function urlLimit(c, next) {
  if (c.req.raw.url.length <= limits.urlChars) return next()
  return problemResponse(
    new InvalidRequest({ status: 414, detail: `The URL is longer than ${limits.urlChars} characters` }),
    pathOf(c).slice(0, 200)
  )
}
