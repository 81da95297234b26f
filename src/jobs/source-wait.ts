import { Clock, Duration, Effect, Either } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import type { DatabaseError } from "../postgres/app-database.ts"
import { SourceOutage } from "../source/outage.ts"
import { SourceError } from "../source/source-error.ts"
import { ExportStore } from "./export-store.ts"
import type { ClaimedJob, LeaseLost } from "./store/commands.ts"

/** Writes a time as people say it: in seconds up to two minutes, then in minutes. */
const inWords = (ms: number) => (ms < 120_000 ? `${Math.round(ms / 1000)} seconds` : `${Math.floor(ms / 60_000)} minutes`)

const finalError = (message: string, cause: SourceError) => new SourceError({ message, retryable: false, cause })

/** Tries to update the status. If the app database is away as well, the next update makes up for it. */
const tryUpdate = (write: Effect.Effect<void, DatabaseError | LeaseLost>) =>
  write.pipe(Effect.catchTag("DatabaseError", (error) => Effect.logDebug(error.logged)))

/**
 * Reads a job's rows whatever outages the source has meanwhile, on the one delivery and the one attempt of the job:
 *
 *     connecting ── reached ──▶ reading ──▶ read, or failed by something else
 *       │    ▲                     │
 *   cannot   └────── a pause ──────┤ lost
 *       ▼                          ▼
 *     failed after SOURCE_OUTAGE   failed after `sourceLosses`
 *
 * There are two limits, since there are two ways to wait for ever. A source that cannot be reached is waited for as long
 * as SOURCE_OUTAGE, counted from the last moment when it could be, and never from before the request for the export, so
 * that the jobs of a queue do not wait one after the other. A source that is reached and lost again, by the same row each time or
 * by somebody who ends its sessions, would begin that count anew each time; so an export may lose it `sourceLosses`
 * times, however long it reads in between.
 */
export class SourceWait extends Effect.Service<SourceWait>()("SourceWait", {
  effect: Effect.gen(function* () {
    const store = yield* ExportStore
    const outage = yield* SourceOutage
    const limitMs = Duration.toMillis((yield* AppConfig).sourceOutage)

    /** Runs `read`, which runs `reached` as soon as it has the source. */
    const through = Effect.fn("SourceWait.through")(function* <A, E>(
      job: ClaimedJob,
      read: (reached: Effect.Effect<void, LeaseLost>) => Effect.Effect<A, E | SourceError>
    ) {
      const requestedAt = (yield* Clock.currentTimeMillis) - job.ageMs
      // A restart of the service does not begin the wait anew.
      let since = job.waitingSince?.getTime()
      let pauseMs: number = limits.sourcePauseMs
      let losses = 0
      for (;;) {
        let isReached = false
        const reached = Effect.suspend(() => {
          const hasWaited = since !== undefined
          isReached = true
          since = undefined
          pauseMs = limits.sourcePauseMs
          return hasWaited ? tryUpdate(store.reached(job)) : Effect.void
        })
        const result = yield* Effect.either(read(reached))
        if (Either.isRight(result)) return result.right
        const error = result.left
        if (!(error instanceof SourceError) || !error.outage) return yield* Effect.fail(error)
        // A lost session is no outage yet; the next try shows whether it is.
        if (!isReached) yield* outage.failed(error)
        if (isReached && ++losses >= limits.sourceLosses)
          return yield* finalError(`The source database was lost ${losses} times while the export was read`, error)
        const now = yield* Clock.currentTimeMillis
        since ??= outage.since() ?? now
        const from = Math.max(since, requestedAt)
        const leftMs = from + limitMs - now
        if (leftMs <= 0) {
          yield* Effect.logWarning("export gives up: the source database could not be reached for SOURCE_OUTAGE")
          return yield* finalError(`The source database could not be reached for ${inWords(now - from)}`, error)
        }
        if (isReached) yield* Effect.logWarning(`source database lost, starting the export anew: ${error.logged}`)
        yield* tryUpdate(store.wait(job, new Date(since)))
        yield* Effect.sleep(Math.min(pauseMs, leftMs))
        pauseMs = Math.min(2 * pauseMs, limits.sourcePauseMaxMs)
      }
    })

    return { through } as const
  })
}) {}
