import { Option, SchemaAST } from "effect"
import type { Context, MiddlewareHandler } from "hono"
import { api } from "../api.ts"
import { pathOf } from "../bridge.ts"
import { servedEndpoints } from "../endpoints/endpoint.ts"
import { ForeignOrigin } from "../failures.ts"
import { headerDescriptions } from "../openapi/header-descriptions.ts"
import { problemResponse } from "../problem.ts"

const served = servedEndpoints(api)
const methods = new Set(served.flatMap(({ endpoint: { method } }) => (method === "GET" ? ["GET", "HEAD"] : [method])))
/** Request headers that pages may send; browsers allow a few others without asking. */
const requestHeaders = new Set([
  "Content-Type",
  ...served.flatMap(({ endpoint }) =>
    Option.match(endpoint.headersSchema, {
      onNone: () => [],
      onSome: ({ ast }) => SchemaAST.getPropertySignatures(ast).map(({ name }) => String(name))
    })
  )
])
/** Headers of answers that pages may read; browsers show a few others anyway. */
const answerHeaders = Object.keys(headerDescriptions)
/** How long a browser may keep the answer to a preflight request. */
const MAX_AGE_SECONDS = 600

/** Says whether a page comes from the host that it sends the request to. The scheme may differ, since a proxy may add TLS. */
const isOurs = (origin: string, c: Context): boolean => {
  if (!URL.canParse(origin)) return false
  const { protocol, host } = new URL(origin)
  const asked = `${protocol}//${c.req.header("Host") ?? new URL(c.req.url).host}`
  // The host is parsed with the scheme of the page, so that both leave out the same default port.
  return host !== "" && URL.canParse(asked) && new URL(asked).host === host
}

/**
 * Allows web pages of other origins only if CORS_ORIGINS names them; all others can neither change nor read anything. Any
 * page can send a POST without a preflight request, and its browser marks that with the origin of the page.
 * @see https://fetch.spec.whatwg.org/#http-cors-protocol
 */
export const crossOrigin = (origins: ReadonlyArray<string>): MiddlewareHandler =>
  async function originCheck(c, next) {
    const { method } = c.req
    const origin = c.req.header("Origin")
    const named = origin !== undefined && origins.includes(origin)
    if (named && method === "OPTIONS" && c.req.header("Access-Control-Request-Method") !== undefined)
      return new Response(null, { status: 204, headers: preflightHeaders(origin) })
    if (origin !== undefined && !named && (method === "POST" || method === "DELETE") && !isOurs(origin, c))
      return problemResponse(new ForeignOrigin({ origin: origin.slice(0, 200) }), pathOf(c).slice(0, 200))
    await next()
    if (origins.length > 0) c.res.headers.append("Vary", "Origin")
    if (named) {
      c.res.headers.set("Access-Control-Allow-Origin", origin)
      c.res.headers.set("Access-Control-Expose-Headers", answerHeaders.join(", "))
    }
    return undefined
  }

const preflightHeaders = (origin: string) => ({
  "Access-Control-Allow-Origin": origin,
  "Access-Control-Allow-Methods": [...methods].join(", "),
  "Access-Control-Allow-Headers": [...requestHeaders].join(", "),
  "Access-Control-Max-Age": String(MAX_AGE_SECONDS),
  Vary: "Origin"
})
