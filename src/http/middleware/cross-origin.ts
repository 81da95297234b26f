import type { Context, MiddlewareHandler } from "hono"
import { pathOf } from "../bridge.ts"
import { ForeignOrigin } from "../failures.ts"
import { problemResponse } from "../problem.ts"

const METHODS = "GET, HEAD, POST, DELETE"
/** Request headers that pages may send; browsers allow a few others without asking. */
const REQUEST_HEADERS = [
  "Content-Type",
  "X-API-Key",
  "Range",
  "If-Range",
  "If-Match",
  "If-None-Match",
  "If-Modified-Since",
  "If-Unmodified-Since",
  "Want-Repr-Digest",
  "Last-Event-ID"
].join(", ")
/** Headers of answers that pages may read; browsers show a few others anyway. */
const ANSWER_HEADERS = [
  "Accept-Ranges",
  "Allow",
  "Content-Disposition",
  "Content-Encoding",
  "Content-Range",
  "ETag",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Repr-Digest",
  "Retry-After",
  "Sluice-Truncated"
].join(", ")
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
      c.res.headers.set("Access-Control-Expose-Headers", ANSWER_HEADERS)
    }
    return undefined
  }

const preflightHeaders = (origin: string) => ({
  "Access-Control-Allow-Origin": origin,
  "Access-Control-Allow-Methods": METHODS,
  "Access-Control-Allow-Headers": REQUEST_HEADERS,
  "Access-Control-Max-Age": String(MAX_AGE_SECONDS),
  Vary: "Origin"
})
