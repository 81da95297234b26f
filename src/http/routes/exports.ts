import { Effect, Schema } from "effect"
import type { Context } from "hono"
import { limits } from "../../limits.ts"
import { show } from "../../datasets/filters/conditions.ts"
import { optional } from "../../datasets/definitions.ts"
import { isFinished, type ExportJob } from "../../exports/export-job.ts"
import { ExportQueue } from "../../jobs/queue.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { Datasets } from "../../datasets/registry.ts"
import { discard, ExportStorage } from "../../storage/export-storage.ts"
import { exportRequest, type RequestedDatasets } from "../request/export-request.ts"
import { decode, queryValues } from "../request/query.ts"
import { boundRefusals } from "../middleware/rate-limit.ts"

/**
 * Returns an export as JSON. `base` is the prefix of the request's path; `hasFile` says whether there is something to
 * download.
 */
export const exportDocument = (job: ExportJob, base: string, hasFile: boolean) => ({
  exportId: job.id,
  dataset: job.dataset,
  status: job.status,
  progress: {
    totalRows: job.totalRows,
    totalRowsExact: job.totalRowsExact,
    processedRows: job.processedRows,
    percentage: job.percentage
  },
  error: job.error,
  waiting: job.waitingSince && `the source database cannot be reached since ${job.waitingSince.toISOString()}`,
  createdAt: job.createdAt,
  startedAt: job.startedAt,
  completedAt: job.completedAt,
  expiresAt: job.expiresAt,
  bytes: job.bytes,
  crc32: job.crc32,
  links: {
    self: `${base}/${job.id}/status`,
    events: `${base}/${job.id}/events`,
    ...(hasFile && { download: `${base}/${job.id}/download` })
  }
})

/** The prefix that the request came by. */
export const prefixOf = (c: Context): string => (c.req.path.startsWith("/api/v1/") ? "/api/v1" : "")

/** `/exports` or `/api/v1/exports`, whichever the request used. */
export const basePath = (c: Context): string => `${prefixOf(c)}/exports`

const PageQuery = Schema.Struct({
  limit: optional(
    Schema.String.pipe(
      Schema.filter(
        (value) =>
          (/^[1-9]\d{0,3}$/.test(value) && Number(value) <= limits.pageMax) ||
          `must be a whole number from 1 to ${limits.pageMax}, not ${show(value)}`
      )
    )
  ),
  cursor: optional(
    Schema.String.pipe(
      Schema.filter((value) => cursorSequence(value) !== undefined || `must be a cursor of this list, not ${show(value)}`)
    )
  )
})

/** Cursors are opaque to clients: the sequence of the last export seen. */
const toCursor = (sequence: number) => Buffer.from(`s${sequence}`).toString("base64url")
const cursorSequence = (cursor: string): number | undefined => {
  const [, digits] = /^s(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/** The routes of export jobs, but for the bytes. */
export class ExportRoutes extends Effect.Service<ExportRoutes>()("ExportRoutes", {
  effect: Effect.gen(function* () {
    const store = yield* ExportStore
    const queue = yield* ExportQueue
    const storage = yield* ExportStorage
    const datasets = yield* Datasets
    const limiter = yield* RateLimiter

    /** A job waits for a source that is away, and then fails if it does not take a value: it need not be asked now. */
    const patient: RequestedDatasets = {
      all: datasets.all,
      exportSource: datasets.exportSource,
      castFailures: (conditions) =>
        Effect.catchIf(
          datasets.castFailures(conditions),
          ({ outage = false }) => outage,
          () => Effect.succeed([])
        )
    }

    const find = (c: Context) => store.find(c.req.param("id") ?? "")

    /** Says whether the file is there as it was written. If the storage cannot tell, the answer is yes. */
    const hasFile = (job: ExportJob) =>
      job.status === "completed"
        ? storage.read(job, job.bytes ?? 0).pipe(
            Effect.as(true),
            Effect.catchAll(({ reason }) => Effect.succeed(reason === undefined))
          )
        : Effect.succeed(false)
    const documentOf = (job: ExportJob, base: string) => Effect.map(hasFile(job), (there) => exportDocument(job, base, there))

    const create = (c: Context) =>
      Effect.gen(function* () {
        const spec = yield* exportRequest(c, boundRefusals(c, limiter, patient))
        const exportId = yield* store.create(spec, queue.enqueue)
        const headers = { Location: `${basePath(c)}/${exportId}/status`, "Retry-After": "1", "Cache-Control": "no-store" }
        return Response.json({ exportId, status: "pending" }, { status: 202, headers })
      }).pipe(Effect.scoped)

    const status = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const job = yield* find(c)
        const headers = { "Cache-Control": "no-store", ...(!isFinished(job.status) && { "Retry-After": "1" }) }
        return Response.json(yield* documentOf(job, basePath(c)), { headers })
      })

    const list = (c: Context) =>
      Effect.gen(function* () {
        const query = yield* Effect.flatMap(queryValues(c, ["limit", "cursor"]), decode(PageQuery))
        const limit = Number(query.limit ?? limits.pageDefault)
        const found = yield* store.list(limit, query.cursor === undefined ? undefined : cursorSequence(query.cursor))
        const page = found.slice(0, limit)
        const nextCursor = found.length > limit ? toCursor(page[page.length - 1]!.sequence) : null
        const next = nextCursor === null ? {} : { links: { next: `${basePath(c)}?limit=${limit}&cursor=${nextCursor}` } }
        const documents = yield* Effect.forEach(page, (job) => documentOf(job, basePath(c)), { concurrency: limits.fileLooks })
        return Response.json({ exports: documents, nextCursor, ...next }, { headers: { "Cache-Control": "no-store" } })
      })

    const remove = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const job = yield* find(c)
        // Between the look and the write the job may have finished: then the second verb applies.
        const cancelled = !isFinished(job.status) && (yield* store.cancel(job.id))
        if (!cancelled) {
          yield* store.expire(job.id)
          const { epoch } = yield* find(c)
          yield* discard(storage, { id: job.id, epoch })
        }
        return new Response(null, { status: 204 })
      })

    return { find, documentOf, create, status, list, remove } as const
  })
}) {}
