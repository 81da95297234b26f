import { sql } from "drizzle-orm"
import { Effect, Redacted, Runtime } from "effect"
import { fromDrizzle, PgBoss } from "pg-boss"
import { AppConfig, Databases, limits } from "../config.ts"
import type { Transaction } from "../postgres/control.ts"

const QUEUE = "exports"

/** `sslmode` told to node-postgres explicitly: it reads `require` as "verify the certificate too". */
const connection = (url: string) => {
  const parsed = new URL(url)
  const mode = parsed.searchParams.get("sslmode") ?? "disable"
  parsed.searchParams.delete("sslmode")
  return { connectionString: parsed.href, ssl: mode === "require" ? { rejectUnauthorized: false } : mode.startsWith("verify-") }
}

/**
 * The queue of exports, on pg-boss: at-least-once delivery of export ids. Its retries cover workers that died
 * (no heartbeat) and attempts that were given back; how often an export may fail is counted in its own row.
 */
export class ExportQueue extends Effect.Service<ExportQueue>()("ExportQueue", {
  scoped: Effect.gen(function* () {
    const url = Redacted.value((yield* Databases).control)
    const { maxConcurrentExports } = yield* AppConfig
    const runFork = Runtime.runFork(yield* Effect.runtime())
    const boss = new PgBoss({
      ...connection(url),
      schema: "sluice_queue",
      application_name: "sluice queue",
      max: limits.queueConnections,
      useListenNotify: true,
      schedule: false,
      // A dead worker is noticed by these: its heartbeat first, then the next look of a supervisor.
      superviseIntervalSeconds: limits.queueSuperviseSeconds,
      monitorIntervalSeconds: limits.queueSuperviseSeconds
    })
    // pg-boss goes on by itself after each of these; without a listener they would end the process.
    boss.on("error", (error) => void runFork(Effect.logWarning(`the queue's database failed, trying on: ${error.message}`)))
    boss.on("warning", ({ message }) => void runFork(Effect.logDebug(`queue: ${message}`)))

    yield* Effect.acquireRelease(
      Effect.tryPromise(() => boss.start()),
      // The rejections of interrupted jobs are still on their way to the database.
      () => Effect.promise(() => boss.stop({ graceful: true, timeout: limits.queueStopMs })).pipe(Effect.ignore)
    )
    yield* Effect.tryPromise(() =>
      boss.createQueue(QUEUE, {
        retryLimit: limits.jobDeliveries,
        retryDelay: limits.jobRetryDelaySeconds,
        retryBackoff: true,
        retryDelayMax: limits.jobRetryDelayMaxSeconds,
        heartbeatSeconds: limits.jobHeartbeatSeconds,
        expireInSeconds: limits.jobMaxSeconds,
        notify: true
      })
    )

    /** Hands an export to the queue, in the transaction that creates it. */
    const enqueue = (tx: Transaction, id: string) => boss.send(QUEUE, {}, { id, db: fromDrizzle(tx, sql) })

    /**
     * Runs `handle` for each delivered id. A rejection brings the id back later. `signal` aborts when the
     * delivery is no longer this worker's.
     */
    const work = (handle: (id: string, signal: AbortSignal) => Promise<void>) =>
      Effect.tryPromise(() =>
        boss.work(
          QUEUE,
          { localConcurrency: maxConcurrentExports, pollingIntervalSeconds: 1, notifyPollingIntervalSeconds: 1 },
          async ([job]) => {
            if (job) await handle(job.id, job.signal)
          }
        )
      )

    /** Takes no further deliveries; those at work go on. */
    const stopWork = Effect.tryPromise(() => boss.offWork(QUEUE, { wait: false })).pipe(Effect.ignore)

    return { enqueue, work, stopWork } as const
  })
}) {}
