import { Effect, Option, ParseResult, Schema, SchemaAST } from "effect"
import type { RateLimiter } from "../rate-limit/rate-limiter.ts"
import { type ApiRequest, openAnswer, type Answer, type DocumentAnswer } from "./handler.ts"
import type { Served } from "./endpoints/endpoint.ts"
import type { HttpFailure } from "./failures.ts"
import { setRateLimit } from "./request/rate-limit.ts"
import { queryDecoder } from "./request/query.ts"
import type { AppContext, Prefix } from "./request-env.ts"

type AnyHandler = (request: ApiRequest<never, never>) => Effect.Effect<Answer<unknown>, HttpFailure>

const none = Schema.Struct({})

/** Decodes the query. All mistakes are reported at once. */
const decoderOf = ({ endpoint, details }: Served) => {
  const decode = queryDecoder(Option.getOrElse(endpoint.urlParamsSchema, () => none) as Schema.Schema<unknown, unknown>)
  return ({ url }: ApiRequest) => (details.ofDataset ? Effect.succeed({}) : decode(url))
}

/** Makes what encodes the documents of an endpoint. One that sends other bodies alone has none. */
const documentEncoder = ({ successes }: Served) => {
  for (const [status, { ast }] of successes) {
    if (Option.isNone(ast) || !SchemaAST.isTypeLiteral(ast.value)) continue
    const encode = ParseResult.encodeSync(Schema.make<unknown, unknown>(ast.value))
    return ({ document, headers = {} }: DocumentAnswer<unknown>) => Response.json(encode(document), { status, headers })
  }
  return undefined
}

/** The answer to HEAD: what GET would say, without making a body. Bun would claim a length of 0 where none is known. */
const headResponse = (headers: Readonly<Record<string, string>>): Response =>
  new Response(null, { headers: "Content-Length" in headers ? headers : { ...headers, "Transfer-Encoding": "chunked" } })

/** Makes of an endpoint and its handler what answers a request: decodes it, runs the handler, encodes its answer. */
export const serveEndpoint = (served: Served, handler: AnyHandler, limiter: RateLimiter["Type"]) => {
  const queryOf = decoderOf(served)
  const encode = documentEncoder(served)
  const { window } = served.details

  const answer = (request: ApiRequest<never, never>) =>
    Effect.flatMap(handler(request), (given) => {
      if ("document" in given) return Effect.sync(() => encode!(given))
      if ("open" in given && request.method === "HEAD") return Effect.succeed(headResponse(given.headers))
      return openAnswer(given)
    })

  return {
    answer: (request: ApiRequest) =>
      Effect.flatMap(queryOf(request), (query) => answer({ ...request, query } as ApiRequest<never, never>)),
    /** Completes each answer, also that of a failure. */
    after: (request: ApiRequest, response: Response) =>
      window === undefined ? Effect.void : setRateLimit(request, response, limiter, window)
  }
}

/** Returns what handlers get of a request. */
export const toApiRequest = (c: AppContext, prefix: Prefix): ApiRequest => ({
  params: c.req.param(),
  query: {},
  method: c.req.method,
  url: new URL(c.req.url),
  headers: c.req.raw.headers,
  prefix,
  signal: c.req.raw.signal,
  env: c.env,
  body: () => c.req.raw.body,
  rate: {}
})
