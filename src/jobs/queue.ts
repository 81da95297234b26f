import { Effect, Redacted, Runtime, Schedule } from "effect"
import { PgBoss } from "pg-boss"
import type postgres from "postgres"
import { limits } from "../limits.ts"
import { AppConfig, Databases } from "../config.ts"
import { closeWithin } from "../postgres/app-database.ts"
import { makeOutage } from "../source/outage.ts"

const SCHEMA = "sluice_queue"
const QUEUE = "exports"

/** Runs a statement of the queue, or one that contains it, and returns the rows. */
export type RunStatement = (text: string, values: ReadonlyArray<unknown>) => Promise<ReadonlyArray<unknown>>

/** Writes a condition: the queue has a delivery of this export that has not ended. */
export const mayStillRun = (sql: postgres.Sql, id: postgres.Fragment) => sql`exists (
  select from ${sql(SCHEMA)}.job where name = ${QUEUE} and job.id = ${id} and state in ('created', 'retry', 'active'))`

/** Writes a statement that takes the deliveries of the exports in `changed` out of the queue. */
export const withdrawal = (sql: postgres.Sql) =>
  sql`delete from ${sql(SCHEMA)}.job where name = ${QUEUE} and id in (select id from changed)`

/** Passes `sslmode` on explicitly, since node-postgres reads `require` as "verify the certificate, too". */
const connection = (url: string) => {
  const parsed = new URL(url)
  const mode = parsed.searchParams.get("sslmode") ?? "disable"
  parsed.searchParams.delete("sslmode")
  return { connectionString: parsed.href, ssl: mode === "require" ? { rejectUnauthorized: false } : mode.startsWith("verify-") }
}

/**
 * The queue of exports, on pg-boss: at-least-once delivery of export ids. Its retries cover workers that died
 * (no heartbeat) and attempts that were released; how often an export may fail is counted in its own row.
 */
export class ExportQueue extends Effect.Service<ExportQueue>()("ExportQueue", {
  scoped: Effect.gen(function* () {
    const url = Redacted.value((yield* Databases).app)
    const { maxConcurrentExports } = yield* AppConfig
    const runFork = Runtime.runFork(yield* Effect.runtime())
    const boss = new PgBoss({
      ...connection(url),
      schema: SCHEMA,
      application_name: "sluice queue",
      max: limits.queueConnections,
      useListenNotify: true,
      schedule: false,
      // A dead worker is noticed when its heartbeat is overdue and a supervisor looks at the queue.
      superviseIntervalSeconds: limits.queueSuperviseSeconds,
      monitorIntervalSeconds: limits.queueSuperviseSeconds
    })
    const outage = makeOutage("the queue's database")
    // pg-boss goes on by itself after these errors; without a listener they would end the process.
    boss.on("error", (error) => void runFork(outage.failed(error.message)))
    boss.on("warning", ({ message }) => void runFork(Effect.logDebug(`queue: ${message}`)))

    yield* Effect.acquireRelease(
      Effect.tryPromise(() => boss.start()).pipe(Effect.timeout(limits.migrateMs)),
      // The rejections of interrupted jobs are still on their way to the database.
      () => closeWithin(() => boss.stop({ graceful: true, timeout: limits.queueStopMs }))
    )
    const options = {
      retryLimit: limits.jobDeliveries,
      retryDelay: limits.jobRetryDelaySeconds,
      retryBackoff: true,
      retryDelayMax: limits.jobRetryDelayMaxSeconds,
      heartbeatSeconds: limits.jobHeartbeatSeconds,
      expireInSeconds: limits.jobMaxSeconds,
      notify: true
    }
    yield* Effect.tryPromise(async () => {
      // createQueue leaves an existing queue unchanged.
      await boss.createQueue(QUEUE, options)
      await boss.updateQueue(QUEUE, options)
    })

    // pg-boss reports when its database fails, but not when it works again.
    const checkOutage = Effect.suspend(() =>
      outage.since() === undefined
        ? Effect.void
        : Effect.tryPromise(() => boss.getQueue(QUEUE)).pipe(Effect.zipRight(outage.over))
    )
    yield* checkOutage.pipe(Effect.ignore, Effect.repeat(Schedule.spaced(limits.queueLookMs)), Effect.forkScoped)

    /** Adds a delivery of an export. `run` gets the statement that stores it. Returns false if nothing was stored. */
    const enqueue = async (id: string, run: RunStatement): Promise<boolean> => {
      const executeSql = async (text: string, values: unknown[] = []) => ({ rows: [...(await run(text, values))] })
      return (await boss.send(QUEUE, {}, { id, db: { executeSql } })) !== null
    }

    /**
     * Runs `handle` for each delivered id. After a rejection the id is delivered again later. `signal` aborts when the
     * delivery is no longer this worker's.
     */
    const work = (handle: (id: string, signal: AbortSignal) => Promise<void>) =>
      Effect.tryPromise(async () => {
        for (let workers = 0; workers < maxConcurrentExports; workers++) {
          let worker = ""
          const run = async ([job]: ReadonlyArray<{ readonly id: string; readonly signal: AbortSignal }>) => {
            if (job) await handle(job.id, job.signal)
            // Fetch at once: otherwise the next delivery waits for the next poll, and one job begins each second. After a
            // failure it does wait, so that a storage that is away for a moment does not fail the whole queue.
            boss.notifyWorker(worker)
          }
          worker = await boss.work(QUEUE, { pollingIntervalSeconds: 1, notifyPollingIntervalSeconds: 1 }, run)
        }
      })

    /** Takes no further deliveries. Those that are being handled go on. */
    const stopWork = Effect.tryPromise(() => boss.offWork(QUEUE, { wait: false })).pipe(Effect.ignore)

    return { enqueue, work, stopWork } as const
  })
}) {}
