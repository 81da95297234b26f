import { Effect } from "effect"
import type { Context } from "hono"
import { bounds } from "../bounds.ts"
import { AppConfig } from "../config.ts"
import { contentTypeOf, defaultFormat } from "../csv/format.ts"
import type { ExportFile, ExportJob } from "../exports/export-job.ts"
import { ExportStore } from "../jobs/export-store.ts"
import { ExportStorage, StorageError, type FileReader } from "../storage/export-storage.ts"
import { compress, headResponse, negotiateCoding, streamBody, type ContentCoding } from "./body.ts"
import { evaluatePreconditions, rangeStillValid } from "./conditionals.ts"
import { ExportRoutes, named } from "./exports.ts"
import { queryValues } from "./parameters.ts"
import { NotDownloadable, PreconditionFailed, RangeNotSatisfiable } from "./problem.ts"
import { parseRange } from "./ranges.ts"

/** A file's bytes, a chunk at a time; each is valid until the next is asked for. */
const chunksOf = (file: FileReader, size: number) => {
  const buffer = Buffer.allocUnsafeSlow(bounds.readBytes)
  let position = 0
  return {
    next: async (): Promise<Uint8Array | undefined> => {
      if (position === size) return undefined
      const bytes = await file.read(buffer, position)
      if (bytes === 0) throw new Error(`the file ended at ${position} of ${size} bytes`)
      position += bytes
      return buffer.subarray(0, bytes)
    }
  }
}

const unreadable = (cause: unknown) =>
  cause instanceof StorageError
    ? cause
    : new StorageError({ message: `Cannot read the export: ${(cause as Error).message}`, cause })

const formatOf = ({ format }: ExportFile) => format ?? defaultFormat

const notDownloadable = ({ id, status, error }: ExportJob) => new NotDownloadable({ id, status, error })

/** A dataset's name may hold anything; a file's should not. */
const fileName = (file: ExportFile) => {
  const { id, dataset, completedAt } = file
  const date = (completedAt ?? new Date()).toISOString().slice(0, 10).replaceAll("-", "")
  return `${dataset.replaceAll(/[^\w.-]/g, "_")}-${date}-${id.slice(0, 8)}.${formatOf(file).type}`
}

/** Strong: the bytes of one export never change, and each coding has its own. */
const entityTag = ({ id, crc32 }: ExportJob, coding: ContentCoding) =>
  `"${id}-${crc32}${coding === "identity" ? "" : `-${coding}`}"`

/** The file of a finished export (RFC 9110 §8, §13 and §14). */
export class DownloadRoute extends Effect.Service<DownloadRoute>()("DownloadRoute", {
  effect: Effect.gen(function* () {
    const { gzipLevel } = yield* AppConfig
    const store = yield* ExportStore
    const storage = yield* ExportStorage
    const routes = yield* ExportRoutes
    const digesting = yield* Effect.makeSemaphore(1)

    const fileChunks = (job: ExportJob, size: number) => Effect.map(storage.open(job, size), (file) => chunksOf(file, size))

    /** SHA-256 in base64. Computed when first asked for and kept; one at a time, since it takes a core. */
    const sha256 = (job: ExportJob, size: number) =>
      digesting.withPermits(1)(
        Effect.gen(function* () {
          const known = (yield* store.find(job.id))?.sha256
          if (known) return known
          const hasher = new Bun.CryptoHasher("sha256")
          const chunks = yield* fileChunks(job, size)
          yield* Effect.tryPromise({
            try: async (signal) => {
              for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
                signal.throwIfAborted()
                hasher.update(chunk)
              }
            },
            catch: unreadable
          })
          const digest = hasher.digest("base64")
          yield* store.keepSha256(job.id, digest)
          return digest
        }).pipe(Effect.scoped)
      )

    const download = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const job = yield* named(c, store.findFile)
        if (job.status !== "completed") return yield* notDownloadable(job)
        const request = c.req.raw.headers
        const size = job.bytes ?? 0
        const rangeHeader = c.req.method === "GET" ? request.get("Range") : null
        // A digest is of the representation: asked for one, we choose the representation whose digest is known.
        const wantsDigest = /(?:^|,)[ \t]*sha-256[ \t]*=[ \t]*[1-9]/.test(request.get("Want-Repr-Digest") ?? "")
        const coding = rangeHeader !== null || wantsDigest ? "identity" : negotiateCoding(request)
        const validators = { etag: entityTag(job, coding), lastModified: job.completedAt ?? job.createdAt }
        const headers: Record<string, string> = {
          ETag: validators.etag,
          "Last-Modified": validators.lastModified.toUTCString(),
          "Cache-Control": "private, no-transform",
          Vary: "Accept-Encoding",
          "X-Content-Type-Options": "nosniff",
          "Accept-Ranges": "bytes"
        }
        const precondition = evaluatePreconditions(request, validators)
        if (precondition === "failed") return yield* new PreconditionFailed({ detail: `The file's ETag is ${validators.etag}` })
        if (precondition === "not modified") return new Response(null, { status: 304, headers })

        const file = yield* storage.read(job, size).pipe(
          // It may have been removed since we looked.
          Effect.catchTag("StorageError", (error) =>
            Effect.flatMap(routes.find(c), (now) => Effect.fail(now.status === "completed" ? error : notDownloadable(now)))
          )
        )
        headers["Content-Type"] = contentTypeOf(formatOf(job))
        headers["Content-Disposition"] = `attachment; filename="${fileName(job)}"`
        if (coding !== "identity") {
          headers["Content-Encoding"] = coding
          if (c.req.method === "HEAD") return headResponse(headers)
          const body = yield* streamBody(fileChunks(job, size), unreadable, { context: c })
          return new Response(compress(body, coding, gzipLevel), { headers })
        }
        if (wantsDigest) headers["Repr-Digest"] = `sha-256=:${yield* sha256(job, size)}:`
        const range = rangeHeader !== null && rangeStillValid(request, validators) ? parseRange(rangeHeader, size) : undefined
        if (range === "unsatisfiable") return yield* new RangeNotSatisfiable({ bytes: size })
        const { start, end } = range ?? { start: 0, end: size - 1 }
        headers["Content-Length"] = String(end - start + 1)
        if (c.req.method === "HEAD") return new Response(null, { headers })
        if (range) headers["Content-Range"] = `bytes ${start}-${end}/${size}`
        // A file's slice goes from disk to socket in the kernel, and alone keeps Content-Length on Bun.
        return new Response(file.slice(start, end + 1), { status: range ? 206 : 200, headers })
      })

    return { download } as const
  })
}) {}
