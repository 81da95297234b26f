import { Effect, Schema } from "effect"
import { DatasetRegistry } from "../../datasets/registry.ts"
import { isFinished } from "../../exports/export-job.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { ExportQueue } from "../../jobs/queue.ts"
import { limits } from "../../limits.ts"
import { RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { discard, ExportStorage } from "../../storage/export-storage.ts"
import type { Handlers } from "../handler.ts"
import { boundRefusals } from "../request/rate-limit.ts"
import { Cursor } from "../request/page.ts"
import { exportRequest, type RequestedDatasets } from "../request/export-request.ts"
import { exportDocument } from "./export-document.ts"

const toCursor = Schema.encodeSync(Cursor)
const noStore = { "Cache-Control": "no-store" }

/** A job waits for a source that is away, and then fails if it does not take a value: it need not be asked now. */
const patient = ({ all, exportSource, castFailures }: RequestedDatasets): RequestedDatasets => ({
  all,
  exportSource,
  castFailures: (conditions) =>
    Effect.catchIf(
      castFailures(conditions),
      (failure) => failure._tag === "SourceError" && failure.outage === true,
      () => Effect.succeed([])
    )
})

type Names = "listExports" | "createExport" | "createExportInList" | "getExport" | "getExportStatus" | "deleteExport"

/** Export jobs, but for the bytes of their files. */
export const exportHandlers = Effect.gen(function* () {
  const store = yield* ExportStore
  const queue = yield* ExportQueue
  const storage = yield* ExportStorage
  const datasets = patient(yield* DatasetRegistry)
  const limiter = yield* RateLimiter

  const create: Handlers["createExport"] = (request) =>
    Effect.gen(function* () {
      const spec = yield* exportRequest(request, boundRefusals(request, limiter, datasets))
      const exportId = yield* store.create(spec, queue.enqueue)
      const headers = { Location: `${request.prefix}/exports/${exportId}/status`, "Retry-After": "1", ...noStore }
      return { document: { exportId, status: "pending" as const }, headers }
    }).pipe(Effect.scoped)

  const status: Handlers["getExport"] = ({ params, prefix }) =>
    Effect.gen(function* () {
      const job = yield* store.get(params.id)
      const headers = { ...noStore, ...(!isFinished(job.status) && { "Retry-After": "1" }) }
      return { document: yield* exportDocument(job, prefix, storage), headers }
    })

  const list: Handlers["listExports"] = ({ query: { limit = limits.pageDefault, cursor }, prefix }) =>
    Effect.gen(function* () {
      const found = yield* store.list(limit, cursor)
      const page = found.slice(0, limit)
      const nextCursor = found.length > limit ? toCursor(page.at(-1)!.sequence) : null
      const next = nextCursor !== null && { links: { next: `${prefix}/exports?limit=${limit}&cursor=${nextCursor}` } }
      const exports = yield* Effect.forEach(page, (job) => exportDocument(job, prefix, storage), {
        concurrency: limits.fileLooks
      })
      return { document: { exports, nextCursor, ...next }, headers: noStore }
    })

  const remove: Handlers["deleteExport"] = ({ params }) =>
    Effect.gen(function* () {
      const job = yield* store.get(params.id)
      // Between the look and the write the job may have finished: then the second verb applies.
      const cancelled = !isFinished(job.status) && (yield* store.cancel(job.id))
      if (!cancelled) {
        yield* store.expire(job.id)
        const { epoch } = yield* store.get(job.id)
        yield* discard(storage, { id: job.id, epoch })
      }
      return new Response(null, { status: 204 })
    })

  const handlers: Pick<Handlers, Names> = {
    listExports: list,
    createExport: create,
    createExportInList: create,
    getExport: status,
    getExportStatus: status,
    deleteExport: remove
  }
  return handlers
})
