import { Cause, Duration, Effect, FiberMap, Queue } from "effect"
import { limits } from "../limits.ts"
import type { SourceError } from "../source/source-error.ts"
import type { StorageError } from "../storage/export-storage.ts"
import { ExportChanges } from "./export-changes.ts"
import { ExportStore, persist } from "./export-store.ts"
import type { ClaimedJob } from "./store/commands.ts"
import { Exporter } from "./exporter.ts"
import { ExportQueue } from "./queue.ts"

/** Ends when the signal aborts, since the delivery is then no longer this worker's. */
const aborted = (signal: AbortSignal): Effect.Effect<void> =>
  Effect.async((resume) => {
    const end = () => resume(Effect.void)
    if (signal.aborted) return end()
    signal.addEventListener("abort", end, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", end))
  })

/**
 * Runs delivered jobs, each as a fiber under its id; cancelling a job is interrupting its fiber. An attempt ends
 * in one of three ways: the row is finished (completed, failed, cancelled), the row is released and the delivery
 * rejected, so that the queue delivers it again, or the lease is lost and nothing is written any more.
 */
export class Worker extends Effect.Service<Worker>()("Worker", {
  scoped: Effect.gen(function* () {
    const queue = yield* ExportQueue
    const store = yield* ExportStore
    const changes = yield* ExportChanges
    const exporter = yield* Exporter
    const fibers = yield* FiberMap.make<string>()
    const run = yield* FiberMap.runtimePromise(fibers)()

    /** Fails the job, or returns it to the queue while it has retries left. */
    const failOrRetry = (job: ClaimedJob, error: SourceError | StorageError) => {
      const attempts = job.failures + 1
      if (("retryable" in error && !error.retryable) || attempts > limits.jobRetries) {
        const tries = attempts > 1 ? ` (tried ${attempts} times)` : ""
        return Effect.logError(`export failed: ${error.logged}${tries}`).pipe(
          Effect.zipRight(persist(store.fail(job, `${error.message}${tries}`)))
        )
      }
      return Effect.logWarning(`export will be tried again (${attempts} of ${limits.jobRetries}): ${error.logged}`).pipe(
        Effect.zipRight(persist(store.release(job, true))),
        Effect.zipRight(Effect.fail(error))
      )
    }

    const runAttempt = (job: ClaimedJob) =>
      Effect.gen(function* () {
        if (job.crashes >= limits.jobCrashes) {
          const message = `The service ended unexpectedly ${job.crashes} times while it ran this export`
          yield* Effect.logError(`export failed: ${message}`)
          return yield* persist(store.fail(job, message))
        }
        yield* Effect.logInfo("export started")
        const [time, file] = yield* Effect.timed(exporter.run(job))
        const seconds = Duration.toSeconds(time)
        yield* Effect.logInfo("export completed").pipe(
          Effect.annotateLogs({ rows: file.rows, bytes: file.bytes, seconds, rowsPerSecond: Math.round(file.rows / seconds) })
        )
      }).pipe(
        Effect.catchTags({
          // A newer instance takes the job: during a rolling upgrade there is one, or the queue delivers the job until it gives up.
          UnreadableSpec: (error) =>
            Effect.logWarning(`export returned to the queue: ${error.message}`).pipe(
              Effect.zipRight(persist(store.release(job, false))),
              Effect.zipRight(Effect.fail(error))
            ),
          StorageFull: (error) => Effect.logError(error.message).pipe(Effect.zipRight(persist(store.fail(job, error.message)))),
          SourceError: (error) => failOrRetry(job, error),
          StorageError: (error) => failOrRetry(job, error)
        }),
        // The job was cancelled, so that releasing changes no row, or the service stops and another worker starts it anew.
        Effect.onInterrupt(() =>
          Effect.logInfo("export stopped: it was cancelled, or the service stops").pipe(
            Effect.zipRight(store.release(job, false)),
            Effect.catchTag("LeaseLost", () => store.survived(job)),
            Effect.interruptible,
            Effect.timeout(limits.releaseMs),
            Effect.ignore
          )
        ),
        Effect.catchTag("LeaseLost", () =>
          Effect.logInfo("export stopped: it was cancelled, or another worker has it").pipe(Effect.zipRight(store.survived(job)))
        ),
        Effect.annotateLogs({ exportId: job.id, dataset: job.dataset, attempt: job.epoch })
      )

    const handle = (id: string) =>
      Effect.flatMap(store.claim(id), (job) => (job ? runAttempt(job) : Effect.void)).pipe(
        Effect.tapErrorTag("DatabaseError", (error) => Effect.logWarning(`the export will be delivered again: ${error.logged}`)),
        Effect.tapDefect((cause) => Effect.logError("an export failed unexpectedly", Cause.pretty(cause))),
        Effect.annotateLogs({ exportId: id })
      )

    // Each job ends in a fiber of its own: one that ends slowly must not keep the query of the next one alive.
    yield* Queue.take(changes.cancelled).pipe(
      Effect.flatMap((id) => Effect.fork(FiberMap.remove(fibers, id))),
      Effect.forever,
      Effect.forkScoped
    )
    yield* queue.work((id, signal) => run(id, Effect.raceFirst(handle(id), aborted(signal))))

    /** Takes no new jobs and waits for those that run. Jobs that still run when the scope closes return to the queue. */
    const drain = queue.stopWork.pipe(Effect.zipRight(FiberMap.awaitEmpty(fibers)))

    return { drain, running: FiberMap.size(fibers) } as const
  })
}) {}
