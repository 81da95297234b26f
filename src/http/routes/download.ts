import { Effect } from "effect"
import type { ExportFile, ExportJob } from "../../exports/export-job.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { ExportStorage, StorageError, type FileRanges } from "../../storage/export-storage.ts"
import { type ApiRequest, openAnswer, type BodyAnswer, type Handlers } from "../handler.ts"
import { NotDownloadable, PreconditionFailed, RangeNotSatisfiable, type HttpFailure } from "../failures.ts"
import { checkedChunks } from "../response/checked-file.ts"
import { Compression, CompressionBusy, negotiateCoding, type ContentCoding } from "../response/compression.ts"
import { contentHeaders, fileHeaders, validatorsOf } from "../response/file-headers.ts"
import { evaluatePreconditions, rangeStillValid } from "../response/preconditions.ts"
import { parseRange } from "../response/ranges.ts"
import { effectChunks, streamBody } from "../response/streaming-body.ts"

const unreadable = (cause: unknown) =>
  cause instanceof StorageError
    ? cause
    : new StorageError({ message: `Cannot read the export: ${(cause as Error).message}`, cause })

const notDownloadable = ({ id, error }: ExportJob, status: NotDownloadable["status"]) =>
  new NotDownloadable({ id, status, error })

/** A range is of what GET would send (RFC 9110 §14.2). */
const rangeOf = ({ method, headers }: ApiRequest) => (method === "GET" ? headers.get("Range") : null)

const wantsDigest = ({ headers }: ApiRequest) =>
  /(?:^|,)[ \t]*sha-256[ \t]*=[ \t]*[1-9]/.test(headers.get("Want-Repr-Digest") ?? "")

/** A digest is of the representation: asked for one, we choose the representation whose digest is known. */
const codingOf = (request: ApiRequest): ContentCoding =>
  rangeOf(request) !== null || wantsDigest(request) ? "identity" : negotiateCoding(request.headers)

/** The file of a finished export (RFC 9110 §8, §13 and §14). */
export const downloadHandler = Effect.gen(function* () {
  const compression = yield* Compression
  const store = yield* ExportStore
  const storage = yield* ExportStorage
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

  const fileChunks = (job: ExportJob) =>
    Effect.map(storage.open(job, job.bytes ?? 0), (file) =>
      Effect.tapError(checkedChunks(file, { bytes: job.bytes ?? 0, crc32: job.crc32 ?? "" }), markDamaged(job))
    )

  /** Opens the file for slicing. It may have been removed or damaged since it was stored. */
  const fileOf = (job: ExportJob) =>
    storage.read(job, job.bytes ?? 0).pipe(
      Effect.tapError(markDamaged(job)),
      Effect.catchTag("StorageError", (error) =>
        error.reason === "damaged"
          ? Effect.fail(error)
          : // It may have expired since we looked.
            Effect.flatMap(store.get(job.id), (now) =>
              Effect.fail(now.status === "completed" ? error : notDownloadable(now, now.status))
            )
      )
    )

  /** SHA-256 in base64. Computed when first asked for and kept; one at a time, since it takes a core. */
  const sha256 = (job: ExportJob) =>
    digesting.withPermits(1)(
      Effect.gen(function* () {
        const known = (yield* store.get(job.id)).sha256
        if (known) return known
        const hasher = new Bun.CryptoHasher("sha256")
        const next = yield* fileChunks(job)
        for (let chunk = yield* next; chunk !== undefined; chunk = yield* next) hasher.update(chunk)
        const digest = hasher.digest("base64")
        yield* store.keepSha256(job.id, digest)
        return digest
      }).pipe(Effect.scoped)
    )

  const compressed = (request: ApiRequest, job: ExportFile, coding: ContentCoding, headers: Record<string, string>) => {
    const slot = Effect.filterOrFail(
      compression.reserve(coding),
      (reserved) => reserved === coding,
      () => new CompressionBusy()
    )
    const chunks = Effect.flatMap(Effect.zipRight(slot, fileChunks(job)), effectChunks)
    const body = streamBody(chunks, unreadable, { request, through: compression.encode(coding) })
    return Effect.map(body, (stream) => new Response(stream, { headers }))
  }

  const uncompressed = (request: ApiRequest, job: ExportFile, file: FileRanges, headers: Record<string, string>) =>
    Effect.gen(function* () {
      const size = job.bytes ?? 0
      const digest = wantsDigest(request) && { "Repr-Digest": `sha-256=:${yield* sha256(job)}:` }
      const wanted = rangeOf(request)
      const isValid = wanted !== null && rangeStillValid(request.headers, validatorsOf(job, "identity"))
      const range = isValid ? parseRange(wanted, size) : undefined
      if (range === "unsatisfiable") return yield* new RangeNotSatisfiable({ bytes: size })
      const { start, end } = range ?? { start: 0, end: size - 1 }
      const sent = {
        ...headers,
        ...digest,
        "Content-Length": String(end - start + 1),
        ...(range && { "Content-Range": `bytes ${start}-${end}/${size}` })
      }
      // Bun keeps Content-Length only for the stream of a file, which goes from disk to socket in the kernel.
      const open = Effect.sync(() => new Response(file.stream(start, end + 1), { status: range ? 206 : 200, headers: sent }))
      return { headers: sent, open }
    })

  const answer = (
    request: ApiRequest,
    job: ExportFile,
    coding: ContentCoding
  ): Effect.Effect<BodyAnswer | Response, HttpFailure> =>
    Effect.gen(function* () {
      const validators = validatorsOf(job, coding)
      // RFC 9110 §13.2.1: preconditions are evaluated only if the answer without them would be a success.
      const file = yield* fileOf(job)
      const precondition = evaluatePreconditions(request.headers, validators)
      if (precondition === "failed") return yield* new PreconditionFailed({ detail: `The file's ETag is ${validators.etag}` })
      if (precondition === "not modified") return new Response(null, { status: 304, headers: fileHeaders(validators) })
      const headers = { ...fileHeaders(validators), ...contentHeaders(job, coding) }
      if (coding === "identity") return yield* uncompressed(request, job, file, headers)
      const open = Effect.catchTag(compressed(request, job, coding, headers), "CompressionBusy", () =>
        Effect.flatMap(answer(request, job, "identity"), openAnswer)
      )
      return { headers, open }
    })

  const downloadExport: Handlers["downloadExport"] = (request) =>
    Effect.gen(function* () {
      const job = yield* store.getFile(request.params.id)
      if (job.status !== "completed") return yield* notDownloadable(job, job.status)
      return yield* answer(request, job, codingOf(request))
    })

  return { downloadExport }
})
