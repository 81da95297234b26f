import { Deferred, Effect, Queue } from "effect"
import type { Context } from "hono"
import { bounds } from "../bounds.ts"
import { isFinished } from "../exports/export-job.ts"
import { ExportChanges } from "../jobs/export-changes.ts"
import { ExportStore } from "../jobs/export-store.ts"
import { effectChunks, headResponse, streamBody } from "./body.ts"
import { basePath, ExportRoutes, type exportDocument } from "./exports.ts"
import { queryValues } from "./parameters.ts"
import { Unavailable } from "./problem.ts"

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
    const closing = yield* Deferred.make<void>()

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
        if (streams >= bounds.eventStreams) {
          return yield* new Unavailable({ detail: `All ${bounds.eventStreams} event streams are in use` })
        }
        yield* Effect.acquireRelease(
          Effect.sync(() => streams++),
          () => Effect.sync(() => streams--)
        )
        // Watched before the first look, so that no change falls in between.
        const watch = yield* changes.watch(id)
        return yield* effectChunks(eventSource(id, base, watch))
      })

    const eventSource = (id: string, base: string, watch: Queue.Dequeue<void>) => {
      let last: string | undefined
      let finished = false
      const look = Effect.gen(function* () {
        const job = yield* store.find(id)
        finished = job === undefined || isFinished(job.status)
        const event = job === undefined ? "" : encode(yield* routes.documentOf(job, base))
        if (event === last) return ": still here\n\n"
        last = event
        return event
      })
      // A change that comes within the gap is seen with the next look, since each look reads the row.
      const changed = Queue.take(watch).pipe(
        Effect.zipLeft(Effect.sleep(bounds.eventGapMs)),
        Effect.timeoutOption(bounds.eventKeepAliveMs),
        Effect.raceFirst(Deferred.await(closing))
      )
      return Effect.gen(function* () {
        if (finished) return undefined
        if (last !== undefined) yield* changed
        if (yield* Deferred.isDone(closing)) return undefined
        return new TextEncoder().encode(yield* look)
      })
    }

    /** Ends all streams: the service stops, and an EventSource comes back to the next one. */
    const close = Deferred.succeed(closing, undefined)

    return { events, close } as const
  })
}) {}

const unreadable = () => new Unavailable({ detail: "The export's status cannot be read just now" })

const encode = (document: ReturnType<typeof exportDocument>) =>
  `${isFinished(document.status) ? `id: ${FINAL_ID}\n` : ""}event: status\ndata: ${JSON.stringify(document)}\n\n`
