import { Effect } from "effect"
import type { Context } from "hono"
import { bounds } from "../bounds.ts"
import { AppConfig } from "../config.ts"
import { contentTypeOf, type Format } from "../csv/format.ts"
import { show } from "../datasets/conditions.ts"
import { RateLimiter, type RateDecision } from "../limits/rate-limiter.ts"
import { Datasets } from "../rows/datasets.ts"
import { RowSource } from "../rows/row-source.ts"
import { toSourceError } from "../rows/source-error.ts"
import type { RequestEnv } from "./app.ts"
import { compress, headResponse, negotiateCoding, streamBody } from "./body.ts"
import { exportQuery } from "./export-request.ts"
import { invalid } from "./parameters.ts"
import { RateLimited, type InvalidRequest } from "./problem.ts"

const LF = 10
/**
 * The end of a failed body, for clients that cannot see a broken connection; on a line of its own. A chunk of UTF-16
 * ends with a whole unit.
 */
const errorRow =
  ({ encoding }: Format) =>
  (last: Uint8Array | undefined) => {
    const unit = encoding === "utf-16le" ? 2 : 1
    const isNewLine = last === undefined || (last.at(-unit) === LF && (unit === 1 || last.at(-1) === 0))
    return Buffer.from(`${isNewLine ? "" : "\n"}"__ERROR__","internal_server_error"\n`, encoding)
  }

const apiKeyOf = (c: Context) => new URL(c.req.url).searchParams.get("apiKey") ?? c.req.header("X-API-Key")
/** Whose requests are counted together: a key that the client gives, else its address. */
const rateKey = (c: Context): string => {
  const key = apiKeyOf(c)
  return key ? `key ${key.slice(0, bounds.apiKeyChars)}` : `address ${(c.env as RequestEnv).address}`
}

/** Rows straight from the source to the client's socket. */
export class StreamRoute extends Effect.Service<StreamRoute>()("StreamRoute", {
  effect: Effect.gen(function* () {
    const { gzipLevel } = yield* AppConfig
    const source = yield* RowSource
    const datasets = yield* Datasets
    const limiter = yield* RateLimiter

    const stream = (c: Context) =>
      Effect.gen(function* () {
        // A key that is over its limit is to cost the source nothing.
        const mayAsk = Effect.flatMap(limiter.peek(rateKey(c)), ({ allowed, resetSeconds }) =>
          allowed ? Effect.void : Effect.fail(new RateLimited({ retryAfterSeconds: resetSeconds }))
        )
        const { spec, own } = yield* exportQuery(c, datasets, ["apiKey", "errorRow"], mayAsk)
        const wrong = checkOwn(apiKeyOf(c), own["errorRow"])
        if (wrong) return yield* wrong
        const decision = yield* limiter.take(rateKey(c))
        c.set("rate", decision)
        if (!decision.allowed) return yield* new RateLimited({ retryAfterSeconds: decision.resetSeconds })

        const coding = negotiateCoding(c.req.raw.headers)
        const headers = {
          "Content-Type": contentTypeOf(spec.format),
          "Content-Disposition": `attachment; filename="export.${spec.format.type}"`,
          "Cache-Control": "no-store",
          Vary: "Accept-Encoding",
          "X-Content-Type-Options": "nosniff",
          "X-Accel-Buffering": "no",
          ...(coding !== "identity" && { "Content-Encoding": coding })
        }
        if (c.req.method === "HEAD") return headResponse(headers)
        const body = yield* streamBody(source.openNow(spec), toSourceError, {
          context: c,
          ...(own["errorRow"] === "true" && { onError: errorRow(spec.format) })
        })
        return new Response(compress(body, coding, gzipLevel), { headers })
      })

    /** Adds the window's state to every answer (draft-ietf-httpapi-ratelimit-headers), refused or wrong ones too. */
    const rateLimitHeaders = (c: Context, { headers }: Response) =>
      Effect.gen(function* () {
        const taken = c.get("rate") as RateDecision | undefined
        const { remaining, resetSeconds } = taken ?? (yield* limiter.peek(rateKey(c)))
        headers.set("RateLimit-Policy", `"stream";q=${limiter.limit};w=${Math.ceil(limiter.windowSeconds)}`)
        headers.set("RateLimit", `"stream";r=${remaining};t=${resetSeconds}`)
      })

    return { stream, rateLimitHeaders } as const
  })
}) {}

const checkOwn = (apiKey = "", row = "false"): InvalidRequest | undefined => {
  const errors = [
    ...(apiKey.length > bounds.apiKeyChars
      ? [{ field: "apiKey", detail: `must have at most ${bounds.apiKeyChars} characters` }]
      : []),
    ...(row !== "true" && row !== "false" ? [{ field: "errorRow", detail: `must be true or false, not ${show(row)}` }] : [])
  ]
  return errors.length > 0 ? invalid(errors) : undefined
}
