import { Duration, Effect } from "effect"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { ApiRequest, Handlers } from "../handler.ts"
import { AppConfig } from "../../config.ts"
import { contentTypeOf, extensionOf, type Format } from "../../formats/format.ts"
import { RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { StreamTurns } from "../../rate-limit/stream-turns.ts"
import { DatasetRegistry } from "../../datasets/registry.ts"
import { ExportReader, type OpenExport } from "../../read/export-reader.ts"
import { toSourceError } from "../../source/source-error.ts"
import { streamBody } from "../response/streaming-body.ts"
import { Compression, negotiateCoding, type ContentCoding } from "../response/compression.ts"
import { exportQuery } from "../request/export-request.ts"
import { StreamParameters } from "../request/stream-parameters.ts"
import { StreamTooLong } from "../failures.ts"
import { apiKeyOf, boundRefusals, checkKeyHeader, letIn } from "../request/rate-limit.ts"

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

const streamHeaders = (
  format: Format,
  coding: ContentCoding,
  truncatedBy?: OpenExport["truncatedBy"]
): Record<string, string> => ({
  "Content-Type": contentTypeOf(format),
  "Content-Disposition": `attachment; filename="export.${extensionOf(format)}"`,
  "Cache-Control": "no-store",
  Vary: "Accept-Encoding",
  "X-Content-Type-Options": "nosniff",
  "X-Accel-Buffering": "no",
  ...(coding !== "identity" && { "Content-Encoding": coding }),
  ...(truncatedBy && { "Sluice-Truncated": truncatedBy })
})

/** Rows straight from the source to the client's socket. */
export const streamHandler = Effect.gen(function* () {
  const { streamMaxTime } = yield* AppConfig
  const compression = yield* Compression
  const reader = yield* ExportReader
  const datasets = yield* DatasetRegistry
  const limiter = yield* RateLimiter
  const turns = yield* StreamTurns
  const mostTime = `${Duration.format(streamMaxTime)}, the longest that a stream may take`

  /** Makes the body once the stream has its turn, in the coding that is then to be had. */
  const answer = (request: ApiRequest, spec: ExportSpec, hasErrorRow: boolean, undo: Effect.Effect<void>) => {
    let coding = negotiateCoding(request.headers)
    let truncatedBy: OpenExport["truncatedBy"]
    const headers = streamHeaders(spec.format, coding)
    const reserved = Effect.map(compression.reserve(coding), (given) => (coding = given))
    const turn = turns.take(apiKeyOf(request), request.env.address).pipe(Effect.onError(() => undo))
    const opened = Effect.map(reader.openForStream(spec), (one) => {
      truncatedBy = one.truncatedBy
      return one.bytes
    })
    const open = turn.pipe(Effect.zipRight(reserved), Effect.zipRight(opened))
    const body = streamBody(open, toSourceError, {
      request,
      limit: { ms: Duration.toMillis(streamMaxTime), failure: `The stream took longer than ${mostTime}` },
      through: (made) => compression.encode(coding)(made),
      ...(hasErrorRow && { onError: errorRow(spec.format) })
    }).pipe(
      Effect.timeoutFail({
        duration: streamMaxTime,
        onTimeout: () => new StreamTooLong({ detail: `The source gave no row within ${mostTime}` })
      }),
      Effect.map((stream) => new Response(stream, { headers: streamHeaders(spec.format, coding, truncatedBy) }))
    )
    return { headers, open: body }
  }

  const streamExport: Handlers["streamExport"] = (request) =>
    Effect.gen(function* () {
      yield* checkKeyHeader(request)
      // Neither a malformed request counts, nor a stream that gets no turn.
      const { undo } = yield* letIn(request, limiter, "stream")
      const { spec, parameters } = yield* exportQuery(request, boundRefusals(request, limiter, datasets), StreamParameters).pipe(
        Effect.onError(() => undo)
      )
      return answer(request, spec, parameters.errorRow ?? false, undo)
    })

  return { streamExport }
})
