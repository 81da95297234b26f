import { Effect, Schema } from "effect"
import { limits } from "../../limits.ts"
import { isFinished } from "../../exports/export-job.ts"
import { ExportChanges } from "../../jobs/export-changes.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { effectChunks, streamBody } from "../response/streaming-body.ts"
import { ExportStorage } from "../../storage/export-storage.ts"
import type { Handlers } from "../handler.ts"
import { ExportDocument } from "../endpoints/documents.ts"
import type { Prefix } from "../request-env.ts"
import { exportDocument } from "./export-document.ts"
import { Unavailable } from "../failures.ts"
import { Waiter } from "./waiter.ts"

/** The id of an export's last event. A browser that reconnects with it gets 204, which makes it stop. */
const FINAL_ID = "final"

/**
 * Progress as Server-Sent Events: the status at once, then after each change, at most one per `eventGapMs`, until
 * the export is finished. In between a comment keeps proxies from closing the connection.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export const eventsHandler = Effect.gen(function* () {
  const store = yield* ExportStore
  const changes = yield* ExportChanges
  const storage = yield* ExportStorage
  /** One for each stream of events. */
  const waiters = new Set<Waiter>()
  let closing = false

  const open = (id: string, prefix: Prefix) =>
    Effect.gen(function* () {
      if (waiters.size >= limits.eventStreams)
        return yield* new Unavailable({ detail: `All ${limits.eventStreams} event streams are in use` })
      const waiter = new Waiter()
      yield* Effect.acquireRelease(
        Effect.sync(() => waiters.add(waiter)),
        () => Effect.sync(() => waiters.delete(waiter))
      )
      // Watched before the first look, so that no change falls in between.
      yield* changes.watch(id, () => waiter.wake(limits.eventGapMs))
      let last: string | undefined
      let finished = false
      const looks = yield* effectChunks(
        Effect.gen(function* () {
          const job = yield* Effect.catchTag(store.get(id), "ExportNotFound", () => Effect.void)
          finished = job === undefined || isFinished(job.status)
          const event = job === undefined ? "" : encode(yield* exportDocument(job, prefix, storage))
          const isNews = event !== last
          last = event
          return new TextEncoder().encode(isNews ? event : ": still here\n\n")
        })
      )
      return {
        next: async () => {
          if (finished) return undefined
          if (last !== undefined) await waiter.wait(limits.eventKeepAliveMs)
          return closing ? undefined : looks.next()
        }
      }
    })

  const exportEvents: Handlers["exportEvents"] = (request) =>
    Effect.gen(function* () {
      const { id } = yield* store.get(request.params.id)
      if (request.headers.get("Last-Event-ID") === FINAL_ID) return new Response(null, { status: 204 })
      const body = streamBody(open(id, request.prefix), unreadable, { request })
      return { headers, open: Effect.map(body, (stream) => new Response(stream, { headers })) }
    })

  /** Ends all streams: the service stops, and an EventSource comes back to the next one. */
  const close = Effect.sync(() => {
    closing = true
    for (const waiter of waiters) waiter.wake(0)
  })

  return { exportEvents, close }
})

const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no" }

const unreadable = () => new Unavailable({ detail: "The export's status cannot be read just now" })

const toJson = Schema.encodeSync(Schema.parseJson(ExportDocument))
const encode = (document: ExportDocument) =>
  `${isFinished(document.status) ? `id: ${FINAL_ID}\n` : ""}event: status\ndata: ${toJson(document)}\n\n`
