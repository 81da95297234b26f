import { Effect } from "effect"
import type { Context } from "hono"
import { limits } from "../../limits.ts"
import { isFinished } from "../../exports/export-job.ts"
import { ExportChanges } from "../../jobs/export-changes.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { effectChunks, headResponse, streamBody } from "../response/streaming-body.ts"
import { basePath, ExportRoutes, type exportDocument } from "./exports.ts"
import { queryValues } from "../request/query.ts"
import { Unavailable } from "../failures.ts"
import { Waiter } from "./waiter.ts"

/** The id of an export's last event: a browser that comes back with it is told to stop by 204. */
const FINAL_ID = "final"

/**
 * Progress as Server-Sent Events: the status at once, then after each change, at most one per `eventGapMs`, until
 * the export is finished. In between a comment keeps proxies from closing the connection.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventsRoute extends Effect.Service<EventsRoute>()("EventsRoute", {
  effect: Effect.gen(function* () {
    const store = yield* ExportStore
    const changes = yield* ExportChanges
    const routes = yield* ExportRoutes
    let streams = 0
    const waiters = new Set<Waiter>()
    let closing = false

    const events = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const { id } = yield* routes.find(c)
        if (c.req.header("Last-Event-ID") === FINAL_ID) return new Response(null, { status: 204 })
        const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no" }
        if (c.req.method === "HEAD") return headResponse(headers)
        const body = yield* streamBody(open(id, basePath(c)), unreadable, { context: c })
        return new Response(body, { headers })
      })

    const open = (id: string, base: string) =>
      Effect.gen(function* () {
        if (streams >= limits.eventStreams) {
          return yield* new Unavailable({ detail: `All ${limits.eventStreams} event streams are in use` })
        }
        yield* Effect.acquireRelease(
          Effect.sync(() => streams++),
          () => Effect.sync(() => streams--)
        )
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
            const job = yield* Effect.catchTag(store.find(id), "ExportNotFound", () => Effect.void)
            finished = job === undefined || isFinished(job.status)
            const event = job === undefined ? "" : encode(yield* routes.documentOf(job, base))
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

    /** Ends all streams: the service stops, and an EventSource comes back to the next one. */
    const close = Effect.sync(() => {
      closing = true
      for (const waiter of waiters) waiter.wake(0)
    })

    return { events, close } as const
  })
}) {}

const unreadable = () => new Unavailable({ detail: "The export's status cannot be read just now" })

const encode = (document: ReturnType<typeof exportDocument>) =>
  `${isFinished(document.status) ? `id: ${FINAL_ID}\n` : ""}event: status\ndata: ${JSON.stringify(document)}\n\n`
