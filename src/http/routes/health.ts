import { Effect, Fiber } from "effect"
import { limits } from "../../limits.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { ExportReader } from "../../read/export-reader.ts"
import { ExportStorage } from "../../storage/export-storage.ts"
import type { Handlers } from "../handler.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import { NotReady } from "../failures.ts"

/** A part of the service that does not answer, described for clients and for the log. */
interface Unanswered extends FieldProblem {
  readonly logged: string
}

const check = <E extends { readonly message: string; readonly logged?: string }>(
  field: string,
  probe: Effect.Effect<unknown, E>
): Effect.Effect<ReadonlyArray<Unanswered>> =>
  probe.pipe(
    Effect.timeoutFail({
      duration: limits.readyCheckMs,
      onTimeout: (): { readonly message: string; readonly logged?: string } => ({
        message: `no answer within ${limits.readyCheckMs / 1000} s`
      })
    }),
    Effect.match({
      onSuccess: () => [],
      onFailure: ({ message, logged = message }) => [{ field, detail: message, logged: `${field}: ${logged}` }]
    })
  )

/** Returns what the document says of it. */
const shown = ({ field, detail }: Unanswered): FieldProblem => ({ field, detail })

/** Whether the process lives, and whether it can do its work. */
export const healthHandlers = Effect.gen(function* () {
  const store = yield* ExportStore
  const reader = yield* ExportReader
  const storage = yield* ExportStorage
  const headers = { "Cache-Control": "no-store" }

  // A storage that can only be read still serves downloads, so the service stays ready.
  const writable = check("storage", storage.checkWritable).pipe(
    Effect.map((errors) => errors.map(({ field, detail }) => ({ field, detail: `New exports cannot be stored. ${detail}` })))
  )
  const all = Effect.all(
    {
      errors: Effect.all([check("database", store.check), check("source", reader.check), check("storage", storage.check)], {
        concurrency: "unbounded"
      }),
      degraded: writable
    },
    { concurrency: "unbounded" }
  ).pipe(Effect.map(({ errors, degraded }) => ({ errors: errors.flat(), degraded })))
  // Shared by all who ask, so that probes cannot use up the database's connections; in a fiber of its own, so that
  // one who leaves does not take the answer from the others.
  const shared = Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(all)), Fiber.join))
  const checked = yield* Effect.cachedWithTTL(shared, limits.readyShareMs)

  const handlers: Pick<Handlers, "health" | "ready"> = {
    // Touches nothing that can be slow.
    health: () => Effect.succeed({ document: { status: "ok" as const }, headers }),

    ready: () =>
      Effect.gen(function* () {
        const { errors, degraded } = yield* checked
        if (errors.length > 0) {
          const logged = errors.map((one) => one.logged).join("; ")
          return yield* new NotReady({ errors: errors.map(shown), logged })
        }
        return { document: { status: "ready" as const, ...(degraded.length > 0 && { degraded }) }, headers }
      })
  }
  return handlers
})
