import { Effect } from "effect"
import { limits } from "../../limits.ts"
import type { ApiRequest } from "../handler.ts"
import { makeBodyWork } from "./body-work.ts"
import { isObject, parseJson, repeatedMembers, textOf } from "./json-value.ts"
import { expectJson } from "./media-type.ts"
import { checkText, type RawParameter } from "./query.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import { InvalidRequest } from "../failures.ts"
import { makeBodyReader, type Unread } from "./request-body.ts"

const readBytes = makeBodyReader(limits)

const unreadable = (unread: Unread): InvalidRequest => {
  switch (unread) {
    case "too large":
      return new InvalidRequest({ status: 413, detail: `The body is larger than ${limits.bodyBytes} bytes` })
    case "too slow":
      return new InvalidRequest({ status: 408, detail: `The body did not arrive within ${limits.bodyMs / 1000} s` })
    case "crowded out":
      return new InvalidRequest({ status: 408, detail: "The body had not arrived when others needed its room; send it again" })
    case "ended early":
      return new InvalidRequest({ detail: "The body ended early" })
  }
}

const workOn = makeBodyWork(limits)

const readText = Effect.fnUntraced(function* ({ headers, body }: ApiRequest) {
  if (Number(headers.get("Content-Length") ?? 0) > limits.bodyBytes) return yield* unreadable("too large")
  const bytes = yield* Effect.promise(() => readBytes(body()))
  if (typeof bytes === "string") return yield* unreadable(bytes)
  if (bytes.length > 0) yield* expectJson(headers)
  yield* workOn(bytes.length)
  return yield* Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => new InvalidRequest({ detail: "The body is not UTF-8" })
  })
})

const EXAMPLE = 'an object such as {"country_code": "US"}'

/**
 * Reads the body of a request, a JSON object: the members that a query has, too, and the filters in its `where`. Returns
 * undefined if there is no body. Numbers become text with the digits as written: 0.1 never passes through a float. The
 * scope is that of the work on the request.
 */
export const readJsonBody = Effect.fn("readJsonBody")(function* (request: ApiRequest) {
  const body = yield* readText(request)
  if (body.trim() === "") return undefined
  const parsed: unknown = yield* Effect.try({
    try: () => parseJson(body),
    catch: () => new InvalidRequest({ detail: `The body is not valid JSON; expected ${EXAMPLE}` })
  })
  if (!isObject(parsed)) return yield* new InvalidRequest({ detail: `The body must be a JSON object: ${EXAMPLE}` })
  const { where = {}, ...members } = parsed
  const errors: Array<FieldProblem> = repeatedMembers(body).map((field) => ({ field, detail: "is given more than once" }))
  const parameters: Array<RawParameter> = []
  for (const [field, value] of Object.entries(members)) {
    const detail = textsIn(value)
      .map(checkText)
      .find((wrong) => wrong !== undefined)
    if (detail === undefined) parameters.push({ field, value: textOf(value) ?? value })
    else errors.push({ field, detail })
  }
  if (!isObject(where)) errors.push({ field: "where", detail: 'must be an object such as {"id": "gte.100"}' })
  return { values: { parameters, where: isObject(where) ? where : {} }, errors }
})

/** Lists the texts of a value. No parameter has any deeper ones. */
const textsIn = (value: unknown): ReadonlyArray<string> =>
  [value]
    .flat()
    .flatMap((item: unknown) => (isObject(item) ? Object.values(item) : [item]))
    .filter((text) => typeof text === "string")
