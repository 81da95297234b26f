import { Data, Effect, type Scope } from "effect"
import Negotiator from "negotiator"
import { limits } from "../../limits.ts"
import { AppConfig } from "../../config.ts"

export type ContentCoding = "identity" | "gzip" | "zstd"

/** Chooses the coding that a request prefers (RFC 9110 §12.5.3); among equal ones, the cheapest for both sides. */
export const negotiateCoding = (headers: Headers): ContentCoding => {
  const header = headers.get("Accept-Encoding")
  if (header === null || header.trim() === "") return "identity"
  const preferred: Array<ContentCoding> = ["zstd", "gzip", "identity"]
  // The second argument breaks ties; it is not in its types yet.
  const negotiator = new Negotiator({ headers: { "accept-encoding": header } }) as unknown as {
    encoding(available: Array<string>, options: { preferred: Array<string> }): ContentCoding | undefined
  }
  return negotiator.encoding(preferred, { preferred }) ?? "identity"
}

/** zstd 1 is as small as gzip 6 at three times its speed; higher levels cost more than they save on CSV. */
const ZSTD_LEVEL = 1

type Bytes = ReadableStream<Uint8Array>

export const compress = (body: Bytes, coding: ContentCoding, gzipLevel: number): Bytes => {
  if (coding === "identity") return body
  // The option `level` is Bun's own and not in the types.
  const Compression = CompressionStream as unknown as new (
    format: string,
    options: { level: number }
  ) => ReadableWritablePair<Uint8Array, Uint8Array>
  return body.pipeThrough(new Compression(coding, { level: coding === "gzip" ? gzipLevel : ZSTD_LEVEL }))
}

/** The limit of bodies that are compressed at once is reached; this body is to be sent uncompressed. */
export class CompressionBusy extends Data.TaggedError("CompressionBusy") {}

/** Compresses bodies on the fly. Their number is limited, since each takes up to 2 MB while its client takes nothing. */
export class Compression extends Effect.Service<Compression>()("Compression", {
  effect: Effect.gen(function* () {
    const { gzipLevel } = yield* AppConfig
    let bodies = 0
    /**
     * Reserves the compression of a body until the scope closes. Returns the coding, which is identity when the limit is
     * reached.
     */
    const reserve = (wanted: ContentCoding): Effect.Effect<ContentCoding, never, Scope.Scope> => {
      const take = Effect.sync(() => {
        if (wanted === "identity" || bodies >= limits.compressedBodies) return "identity"
        bodies++
        return wanted
      })
      const give = (coding: ContentCoding) => Effect.sync(() => (bodies -= coding === "identity" ? 0 : 1))
      return Effect.acquireRelease(take, give)
    }
    const encode = (coding: ContentCoding) => (body: Bytes) => compress(body, coding, gzipLevel)
    return { reserve, encode } as const
  })
}) {}
