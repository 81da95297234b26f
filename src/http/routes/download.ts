import { Effect } from "effect"
import type { Context } from "hono"
import { contentTypeOf, defaultFormat } from "../../formats/format.ts"
import type { ExportFile, ExportJob } from "../../exports/export-job.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { ExportStorage, StorageError } from "../../storage/export-storage.ts"
import { effectChunks, headResponse, streamBody } from "../response/streaming-body.ts"
import { checkedChunks } from "../response/checked-file.ts"
import { Compression, CompressionBusy, negotiateCoding, type ContentCoding } from "../response/compression.ts"
import { evaluatePreconditions, rangeStillValid } from "../response/preconditions.ts"
import { ExportRoutes } from "./exports.ts"
import { queryValues } from "../request/query.ts"
import { NotDownloadable, PreconditionFailed, RangeNotSatisfiable } from "../failures.ts"
import { parseRange } from "../response/ranges.ts"

const unreadable = (cause: unknown) =>
  cause instanceof StorageError
    ? cause
    : new StorageError({ message: `Cannot read the export: ${(cause as Error).message}`, cause })

const formatOf = ({ format }: ExportFile) => format ?? defaultFormat

const notDownloadable = ({ id, error }: ExportJob, status: NotDownloadable["status"]) =>
  new NotDownloadable({ id, status, error })

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
    const compression = yield* Compression
    const store = yield* ExportStore
    const storage = yield* ExportStorage
    const routes = yield* ExportRoutes
    const digesting = yield* Effect.makeSemaphore(1)

    /** Marks an export whose file is damaged, so that nobody can download it any more. */
    const markDamaged =
      (job: ExportJob) =>
      ({ message, reason }: StorageError) =>
        reason === "damaged"
          ? store.damage(job, "The file was damaged in the storage. Create the export again.").pipe(
              Effect.zipRight(Effect.logError(`the file of an export is damaged: ${message}`)),
              Effect.catchAll((error) => Effect.logError(`the file of an export is damaged: ${message}; ${error.logged}`)),
              Effect.annotateLogs({ exportId: job.id })
            )
          : Effect.void

    const fileChunks = (job: ExportJob, size: number) =>
      Effect.map(storage.open(job, size), (file) =>
        Effect.tapError(checkedChunks(file, { bytes: size, crc32: job.crc32 ?? "" }), markDamaged(job))
      )

    /** Opens the file for slicing. It may have been removed or damaged since it was stored. */
    const fileOf = (c: Context, job: ExportJob, size: number) =>
      storage.read(job, size).pipe(
        Effect.tapError(markDamaged(job)),
        Effect.catchTag("StorageError", (error) =>
          error.reason === "damaged"
            ? Effect.fail(error)
            : // It may have expired since we looked.
              Effect.flatMap(routes.find(c), (now) =>
                Effect.fail(now.status === "completed" ? error : notDownloadable(now, now.status))
              )
        )
      )

    /** SHA-256 in base64. Computed when first asked for and kept; one at a time, since it takes a core. */
    const sha256 = (job: ExportJob, size: number) =>
      digesting.withPermits(1)(
        Effect.gen(function* () {
          const known = (yield* store.find(job.id)).sha256
          if (known) return known
          const hasher = new Bun.CryptoHasher("sha256")
          const next = yield* fileChunks(job, size)
          for (let chunk = yield* next; chunk !== undefined; chunk = yield* next) hasher.update(chunk)
          const digest = hasher.digest("base64")
          yield* store.keepSha256(job.id, digest)
          return digest
        }).pipe(Effect.scoped)
      )

    const download = (c: Context) =>
      answer(c, false).pipe(
        Effect.catchTag("CompressionBusy", () => Effect.catchTag(answer(c, true), "CompressionBusy", Effect.die))
      )

    const answer = (c: Context, uncompressed: boolean) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const job = yield* store.findFile(c.req.param("id") ?? "")
        if (job.status !== "completed") return yield* notDownloadable(job, job.status)
        const request = c.req.raw.headers
        const size = job.bytes ?? 0
        const rangeHeader = c.req.method === "GET" ? request.get("Range") : null
        // A digest is of the representation: asked for one, we choose the representation whose digest is known.
        const wantsDigest = /(?:^|,)[ \t]*sha-256[ \t]*=[ \t]*[1-9]/.test(request.get("Want-Repr-Digest") ?? "")
        const coding = uncompressed || rangeHeader !== null || wantsDigest ? "identity" : negotiateCoding(request)
        const validators = { etag: entityTag(job, coding), lastModified: job.completedAt ?? job.createdAt }
        const headers: Record<string, string> = {
          ETag: validators.etag,
          "Last-Modified": validators.lastModified.toUTCString(),
          "Cache-Control": "private, no-transform",
          Vary: "Accept-Encoding",
          "X-Content-Type-Options": "nosniff",
          "Accept-Ranges": "bytes"
        }
        // RFC 9110 §13.2.1: preconditions are evaluated only if the answer without them would be a success.
        const file = yield* fileOf(c, job, size)
        const precondition = evaluatePreconditions(request, validators)
        if (precondition === "failed") return yield* new PreconditionFailed({ detail: `The file's ETag is ${validators.etag}` })
        if (precondition === "not modified") return new Response(null, { status: 304, headers })

        headers["Content-Type"] = contentTypeOf(formatOf(job))
        headers["Content-Disposition"] = `attachment; filename="${fileName(job)}"`
        if (coding !== "identity") {
          headers["Content-Encoding"] = coding
          if (c.req.method === "HEAD") return headResponse(headers)
          const slot = Effect.filterOrFail(
            compression.reserve(coding),
            (reserved) => reserved === coding,
            () => new CompressionBusy()
          )
          const chunks = Effect.flatMap(Effect.zipRight(slot, fileChunks(job, size)), effectChunks)
          const body = yield* streamBody(chunks, unreadable, { context: c, through: compression.encode(coding) })
          return new Response(body, { headers })
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
