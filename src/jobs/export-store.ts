import { Data, Duration, Effect, Schedule } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { transitions, type Transition } from "../exports/export-job.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { AppDatabase, runQuery, DatabaseError } from "../postgres/app-database.ts"
import { insertExport, withDelivery } from "./create-export.ts"
import { exportReads } from "./export-reads.ts"
import { mayStillRun, withdrawal, type RunStatement } from "./queue.ts"
import type { Attempt, StoredFile } from "../storage/export-storage.ts"

/** Another attempt owns the job, or it was cancelled: this one must stop and leave the row alone. */
export class LeaseLost extends Data.TaggedError("LeaseLost")<{ readonly id: string; readonly epoch: number }> {}

/** There are `QUEUE_LIMIT` unfinished exports already. */
export class QueueFull extends Data.TaggedError("QueueFull")<{ readonly limit: number }> {
  static readonly problem = {
    type: "queue-full",
    status: 429,
    meaning: "There are as many unfinished exports as there may be (QUEUE_LIMIT)."
  } as const
}

/** A job as its worker holds it. Every write names its epoch. */
export interface ClaimedJob extends Attempt {
  readonly dataset: string
  readonly failures: number
  /** How many earlier attempts nobody ended. */
  readonly crashes: number
  /** How long ago the export was requested. */
  readonly ageMs: number
  /** Since when the attempt before it waited for the source, if it did. */
  readonly waitingSince: Date | null
  /** As it was stored, maybe by another version. */
  readonly spec: unknown
}

interface Progress {
  readonly processedRows: number
  /** The planner's guess. */
  readonly totalRows: number
}

/** Fails when `statement`, which is about the row while the attempt holds the job, finds none. */
const leased = (
  job: ClaimedJob,
  verb: string,
  statement: () => PromiseLike<ReadonlyArray<unknown>>
): Effect.Effect<void, DatabaseError | LeaseLost> =>
  runQuery(`${verb} export ${job.id}`, async () => (await statement()).length > 0).pipe(
    Effect.filterOrFail(
      (found) => found,
      () => new LeaseLost({ id: job.id, epoch: job.epoch })
    ),
    Effect.asVoid
  )

/** Repeats a write that ends a job while the database is away, since hours of work may hang on it. */
export const persist = <A, E>(write: Effect.Effect<A, E | DatabaseError>) =>
  write.pipe(
    Effect.retry({
      while: (error) => error instanceof DatabaseError && error.unavailable,
      schedule: Schedule.exponential(200).pipe(
        Schedule.either(Schedule.spaced(limits.persistGapMs)),
        Schedule.upTo(limits.persistMs)
      )
    })
  )

/** Channels: an export changed; an export was cancelled. The payload is its id. */
export const channels = { changed: "sluice_changed", cancelled: "sluice_cancelled" } as const

/** The row `sluice.exports` of each job, a verb a function. A transition that the table forbids changes no row. */
export class ExportStore extends Effect.Service<ExportStore>()("ExportStore", {
  effect: Effect.gen(function* () {
    const { sql } = yield* AppDatabase
    const { exportTtl, queueLimit } = yield* AppConfig
    const ttlSeconds = Math.ceil(Duration.toSeconds(exportTtl))

    const from = (transition: Transition) => sql`status in ${sql([...transitions[transition].from])}`
    const to = (transition: Transition) => sql`status = ${transitions[transition].to}`
    const owned = ({ id, epoch }: ClaimedJob) => sql`id = ${id} and epoch = ${epoch}`
    /** Tells every instance that the row changed: event streams read it anew. */
    const announced = (update: ReturnType<typeof sql>) =>
      sql<
        Array<{ id: string }>
      >`with changed as (${update} returning id) select id, pg_notify(${channels.changed}, id::text) from changed`

    const held = (job: ClaimedJob, verb: string, update: () => ReturnType<typeof sql>) =>
      leased(job, verb, () => announced(update()))

    /** Stores a pending export and its delivery, which `enqueue` makes. Returns its id. */
    const create = Effect.fn("ExportStore.create")(function* (
      spec: ExportSpec,
      enqueue: (id: string, run: RunStatement) => Promise<boolean>
    ) {
      const id = crypto.randomUUID()
      const insert = insertExport(id, spec, queueLimit)
      const stored = yield* runQuery("create an export", () =>
        enqueue(id, (text, values) =>
          sql.unsafe(withDelivery(text, insert), [...(values as Array<string>), ...insert.values], { prepare: true })
        )
      )
      return stored ? id : yield* new QueueFull({ limit: queueLimit })
    })

    /**
     * Takes the job for a new attempt. Returns undefined if the job is finished or gone. A job that is still `processing`
     * was not given back: its process died.
     */
    const claim = Effect.fn("ExportStore.claim")((id: string) =>
      runQuery(
        `claim export ${id}`,
        async (): Promise<ClaimedJob | undefined> =>
          (
            await sql<Array<ClaimedJob>>`
              with changed as (
                update sluice.exports
                set ${to("claim")}, epoch = epoch + 1, crashes = crashes + (status = 'processing')::int,
                  started_at = coalesce(started_at, now()), processed_rows = 0, error = null
                where id = ${id} and ${from("claim")}
                returning id, epoch, dataset, failures, crashes, spec, created_at, waiting_since
              )
              select id, epoch, dataset, failures, crashes, spec, extract(epoch from now() - created_at)::float8 * 1000 as "ageMs",
                waiting_since as "waitingSince",
                pg_notify(${channels.changed}, id::text) from changed`
          )[0]
      )
    )

    /** Fails when the attempt has lost the job. */
    const confirm = Effect.fn("ExportStore.confirm")((job: ClaimedJob) =>
      leased(job, "look after", () => sql`select 1 from sluice.exports where ${owned(job)} and ${from("complete")}`)
    )

    const progress = Effect.fn("ExportStore.progress")((job: ClaimedJob, { processedRows, totalRows }: Progress) =>
      held(
        job,
        "report progress of",
        () => sql`
          update sluice.exports
          set processed_rows = ${processedRows}, total_rows = greatest(${totalRows}::bigint, ${processedRows}::bigint),
            percentage = greatest(percentage, least(99, floor(100.0 * ${processedRows}::bigint / greatest(${totalRows}::bigint, 1))))
          where ${owned(job)} and ${from("complete")}`
      )
    )

    /** Notes that the attempt waits for its source, which cannot be reached since `since`, and will start anew. */
    const wait = Effect.fn("ExportStore.wait")((job: ClaimedJob, since: Date) =>
      held(
        job,
        "let wait",
        () => sql`
          update sluice.exports set waiting_since = ${since}, processed_rows = 0 where ${owned(job)} and ${from("complete")}`
      )
    )

    /** Notes that the attempt no longer waits. */
    const reached = Effect.fn("ExportStore.reached")((job: ClaimedJob) =>
      held(
        job,
        "go on with",
        () => sql`update sluice.exports set waiting_since = null where ${owned(job)} and ${from("complete")}`
      )
    )

    /** Idempotent: the answer to a first call may have been lost. */
    const complete = Effect.fn("ExportStore.complete")((job: ClaimedJob, file: StoredFile & { readonly rows: number }) =>
      held(
        job,
        "complete",
        () => sql`
          update sluice.exports
          set ${to("complete")}, bytes = ${file.bytes}, crc32 = ${file.crc32},
            total_rows = ${file.rows}, total_rows_exact = true, processed_rows = ${file.rows}, percentage = 100,
            completed_at = now(), expires_at = now() + make_interval(secs => ${ttlSeconds})
          where ${owned(job)} and (${from("complete")} or ${to("complete")})`
      )
    )

    /** Gives the job back to be tried again; `failed` counts the attempt against its retries. Idempotent, as `complete`. */
    const release = Effect.fn("ExportStore.release")((job: ClaimedJob, failed: boolean) =>
      held(
        job,
        "release",
        () => sql`
          update sluice.exports set ${to("release")}, failures = ${job.failures + (failed ? 1 : 0)}
          where ${owned(job)} and (${from("release")} or ${to("release")})`
      )
    )

    /**
     * Takes back that the attempt counts as a crash. The job was handed out again while the attempt's process still
     * lives, because its heartbeat did not arrive; this happens when Sluice's own database is away.
     */
    const survived = Effect.fn("ExportStore.survived")(({ id, epoch }: ClaimedJob) =>
      runQuery(
        `look after export ${id}`,
        () => sql`
          update sluice.exports set crashes = crashes - 1
          where id = ${id} and epoch > ${epoch} and crashes > 0 and ${from("cancel")}`
      ).pipe(Effect.asVoid)
    )

    const fail = Effect.fn("ExportStore.fail")((job: ClaimedJob, message: string) =>
      held(
        job,
        "fail",
        () =>
          sql`update sluice.exports set ${to("fail")}, error = ${message}, completed_at = now() where ${owned(job)} and ${from("fail")}`
      )
    )

    /** Cancels an unfinished export, takes it out of the queue, and notifies its worker. Returns false if it was finished. */
    const cancel = Effect.fn("ExportStore.cancel")((id: string) =>
      runQuery(`cancel export ${id}`, async () => {
        const changed = await sql`
          with changed as (
            update sluice.exports set ${to("cancel")}, completed_at = now() where id = ${id} and ${from("cancel")} returning id
          ), withdrawn as (${withdrawal(sql)})
          select pg_notify(${channels.cancelled}, id::text), pg_notify(${channels.changed}, id::text) from changed`
        return changed.length > 0
      })
    )

    /** Marks a completed export as expired, before its file is removed. */
    const expire = Effect.fn("ExportStore.expire")((id: string) =>
      runQuery(`expire export ${id}`, () =>
        announced(
          sql`update sluice.exports set ${to("expire")}, expires_at = least(expires_at, now()) where id = ${id} and ${from("expire")}`
        )
      )
    )

    /** Marks a completed export whose file is not what was written. */
    const damage = Effect.fn("ExportStore.damage")(({ id, epoch }: Attempt, message: string) =>
      runQuery(`mark export ${id} as damaged`, () =>
        announced(sql`
          update sluice.exports set ${to("damage")}, error = ${message}, sha256 = null
          where id = ${id} and epoch = ${epoch} and ${from("damage")}`)
      )
    )

    /** Marks all exports past their time as expired and returns their ids. */
    const expireDue = runQuery("expire exports", async () => {
      const due = await announced(sql`update sluice.exports set ${to("expire")} where ${from("expire")} and expires_at <= now()`)
      return due.map(({ id }) => id)
    })

    /** Fails what the queue has given up on: unfinished exports without a job that may still run. */
    const failAbandoned = runQuery("fail abandoned exports", async () => {
      const message = "Cannot finish the export: the service stopped too often while it ran. Create it again."
      const abandoned = await announced(sql`
        update sluice.exports e set ${to("fail")}, error = ${message}, completed_at = now()
        where e.${from("fail")} and e.created_at < now() - interval '1 minute' and not ${mayStillRun(sql, sql`e.id`)}`)
      return abandoned.map(({ id }) => id)
    })

    const forget = runQuery("forget old exports", async () => {
      const old = await sql`
        delete from sluice.exports where status in ('failed', 'cancelled', 'expired')
          and completed_at < now() - make_interval(days => ${limits.historyDays})
          and (expires_at is null or expires_at < now() - make_interval(days => ${limits.historyDays}))`
      return old.count
    })

    const keepSha256 = Effect.fn("ExportStore.keepSha256")((id: string, sha256: string) =>
      runQuery(`keep the digest of export ${id}`, () => sql`update sluice.exports set sha256 = ${sha256} where id = ${id}`)
    )

    return {
      ...exportReads(sql),
      create,
      claim,
      confirm,
      progress,
      wait,
      reached,
      complete,
      release,
      survived,
      fail,
      cancel,
      damage,
      expire,
      expireDue,
      failAbandoned,
      forget,
      keepSha256
    } as const
  })
}) {}
