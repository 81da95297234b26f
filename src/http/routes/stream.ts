import { Duration, Effect } from "effect"
import type { Context } from "hono"
import { limits } from "../../limits.ts"
import { AppConfig } from "../../config.ts"
import { contentTypeOf, type Format } from "../../formats/format.ts"
import { show } from "../../datasets/filters/conditions.ts"
import { RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { StreamTurns } from "../../rate-limit/stream-turns.ts"
import { Datasets } from "../../datasets/registry.ts"
import { ExportReader } from "../../read/export-reader.ts"
import { toSourceError } from "../../source/source-error.ts"
import { headResponse, streamBody } from "../response/streaming-body.ts"
import { Compression, negotiateCoding, type ContentCoding } from "../response/compression.ts"
import { exportQuery } from "../request/export-request.ts"
import { invalid } from "../request/query.ts"
import { StreamTooLong, type InvalidRequest } from "../failures.ts"
import { addressOf, apiKeyOf, boundRefusals, letIn, rateKey, setRateLimit } from "../middleware/rate-limit.ts"

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
    return Buffer.from(`${isNewLine ? "" : "\n"}"__ERROR__","internal_server_error"\n`, encoding === "raw" ? "ascii" : encoding)
  }

const streamHeaders = (format: Format, coding: ContentCoding): Record<string, string> => ({
  "Content-Type": contentTypeOf(format),
  "Content-Disposition": `attachment; filename="export.${format.type}"`,
  "Cache-Control": "no-store",
  Vary: "Accept-Encoding",
  "X-Content-Type-Options": "nosniff",
  "X-Accel-Buffering": "no",
  ...(coding !== "identity" && { "Content-Encoding": coding })
})

/** Rows straight from the source to the client's socket. */
export class StreamRoute extends Effect.Service<StreamRoute>()("StreamRoute", {
  effect: Effect.gen(function* () {
    const { streamMaxTime } = yield* AppConfig
    const compression = yield* Compression
    const source = yield* ExportReader
    const datasets = yield* Datasets
    const limiter = yield* RateLimiter
    const turns = yield* StreamTurns

    const read = (c: Context) =>
      Effect.gen(function* () {
        const { spec, own } = yield* exportQuery(c, boundRefusals(c, limiter, datasets), ["apiKey", "errorRow"])
        const wrong = checkOwn(apiKeyOf(c), own["errorRow"])
        return wrong ? yield* wrong : { spec, own }
      })

    const mostTime = `${Duration.format(streamMaxTime)}, the longest that a stream may take`

    const stream = (c: Context) =>
      Effect.gen(function* () {
        // Neither a malformed request counts, nor a stream that gets no turn.
        const { undo } = yield* letIn(c, limiter, rateKey(c))
        const { spec, own } = yield* read(c).pipe(Effect.onError(() => undo))

        let coding = negotiateCoding(c.req.raw.headers)
        if (c.req.method === "HEAD") return headResponse(streamHeaders(spec.format, coding))
        const reserved = Effect.map(compression.reserve(coding), (given) => (coding = given))
        const turn = turns.take(apiKeyOf(c), addressOf(c)).pipe(Effect.onError(() => undo))
        const open = turn.pipe(Effect.zipRight(reserved), Effect.zipRight(source.openNow(spec)))
        const body = yield* streamBody(open, toSourceError, {
          context: c,
          limit: { ms: Duration.toMillis(streamMaxTime), failure: `The stream took longer than ${mostTime}` },
          through: (made) => compression.encode(coding)(made),
          ...(own["errorRow"] === "true" && { onError: errorRow(spec.format) })
        }).pipe(
          Effect.timeoutFail({
            duration: streamMaxTime,
            onTimeout: () => new StreamTooLong({ detail: `The source gave no row within ${mostTime}` })
          })
        )
        return new Response(body, { headers: streamHeaders(spec.format, coding) })
      })

    const rateLimitHeaders = (c: Context, response: Response) => setRateLimit(c, response, "stream", limiter, rateKey(c))

    return { stream, rateLimitHeaders } as const
  })
}) {}

const checkOwn = (apiKey = "", row = "false"): InvalidRequest | undefined => {
  const errors = [
    ...(apiKey.length > limits.apiKeyChars
      ? [{ field: "apiKey", detail: `must have at most ${limits.apiKeyChars} characters` }]
      : []),
    ...(row !== "true" && row !== "false" ? [{ field: "errorRow", detail: `must be true or false, not ${show(row)}` }] : [])
  ]
  return errors.length > 0 ? invalid(errors) : undefined
}
