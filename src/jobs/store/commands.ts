import { Data, Effect } from "effect"
import type postgres from "postgres"
import type { TruncatedBy } from "../../exports/export-job.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import { runQuery, type DatabaseError } from "../../postgres/app-database.ts"
import type { Attempt, StoredFile } from "../../storage/export-storage.ts"
import { withdrawal, type RunStatement } from "../queue.ts"
import { insertExport, withDelivery } from "./create.ts"
import { channels, fencedBy, from, to, withNotify } from "./fragments.ts"

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

/** A job as its worker has it. Every write names its epoch. */
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

export interface Progress {
  readonly processedRows: number
  /** The planner's estimate. */
  readonly totalRows: number
}

/** A finished file, with what its export says of it. */
export interface CompletedFile extends StoredFile {
  readonly rows: number
  readonly truncatedBy?: TruncatedBy | undefined
}

/** Fails when `statement`, which is fenced by the attempt's epoch, finds no row. */
const orLeaseLost = (
  { id, epoch }: ClaimedJob,
  verb: string,
  statement: () => PromiseLike<ReadonlyArray<unknown>>
): Effect.Effect<void, DatabaseError | LeaseLost> =>
  runQuery(`${verb} export ${id}`, async () => (await statement()).length > 0).pipe(
    Effect.filterOrFail(
      (found) => found,
      () => new LeaseLost({ id, epoch })
    ),
    Effect.asVoid
  )

/** Stores a pending export and its delivery, which `enqueue` makes, unless `limit` others are unfinished. Returns its id. */
export const create = Effect.fnUntraced(function* (
  sql: postgres.Sql,
  limit: number,
  spec: ExportSpec,
  enqueue: (id: string, run: RunStatement) => Promise<boolean>
) {
  const id = crypto.randomUUID()
  const insert = insertExport(id, spec, limit)
  const stored = yield* runQuery("create an export", () =>
    enqueue(id, (text, values) =>
      sql.unsafe(withDelivery(text, insert), [...(values as Array<string>), ...insert.values], { prepare: true })
    )
  )
  return stored ? id : yield* new QueueFull({ limit })
})

/**
 * Takes the job for a new attempt. Returns undefined if the job is finished or gone. A job that is still `processing`
 * was not given back: its process died.
 */
export const claim = (sql: postgres.Sql, id: string) =>
  runQuery(`claim export ${id}`, async (): Promise<ClaimedJob | undefined> => {
    const [job] = await sql<Array<ClaimedJob>>`
      with changed as (
        update sluice.exports
        set ${to(sql, "claim")}, epoch = epoch + 1, crashes = crashes + (status = 'processing')::int,
          started_at = coalesce(started_at, now()), processed_rows = 0, error = null
        where id = ${id} and ${from(sql, "claim")}
        returning id, epoch, dataset, failures, crashes, spec, created_at, waiting_since
      )
      select id, epoch, dataset, failures, crashes, spec, extract(epoch from now() - created_at)::float8 * 1000 as "ageMs",
        waiting_since as "waitingSince", pg_notify(${channels.changed}, id::text)
      from changed`
    return job
  })

/** Fails when the attempt has lost the job. */
export const confirm = (sql: postgres.Sql, job: ClaimedJob) =>
  orLeaseLost(job, "look after", () => sql`select 1 from sluice.exports where ${fencedBy(sql, job)} and ${from(sql, "complete")}`)

/** Writes how far the attempt is. The percentage never falls, and stays below 100. */
export const progress = (sql: postgres.Sql, job: ClaimedJob, { processedRows, totalRows }: Progress) =>
  orLeaseLost(job, "report progress of", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports
        set processed_rows = ${processedRows}, total_rows = greatest(${totalRows}::bigint, ${processedRows}::bigint),
          percentage = greatest(percentage, least(99, floor(100.0 * ${processedRows}::bigint / greatest(${totalRows}::bigint, 1))))
        where ${fencedBy(sql, job)} and ${from(sql, "complete")}`
    )
  )

/** Records that the attempt waits for its source, which cannot be reached since `since`, and will start anew. */
export const wait = (sql: postgres.Sql, job: ClaimedJob, since: Date) =>
  orLeaseLost(job, "let wait", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports set waiting_since = ${since}, processed_rows = 0
        where ${fencedBy(sql, job)} and ${from(sql, "complete")}`
    )
  )

/** Records that the attempt no longer waits. */
export const reached = (sql: postgres.Sql, job: ClaimedJob) =>
  orLeaseLost(job, "go on with", () =>
    withNotify(sql, sql`update sluice.exports set waiting_since = null where ${fencedBy(sql, job)} and ${from(sql, "complete")}`)
  )

/** Completes the job. Idempotent: the answer to a first call may have been lost. */
export const complete = (
  sql: postgres.Sql,
  ttlSeconds: number,
  job: ClaimedJob,
  { bytes, crc32, rows, truncatedBy }: CompletedFile
) =>
  orLeaseLost(job, "complete", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports
        set ${to(sql, "complete")}, bytes = ${bytes}, crc32 = ${crc32}, truncated_by = ${truncatedBy ?? null},
          total_rows = ${rows}, total_rows_exact = true, processed_rows = ${rows}, percentage = 100,
          completed_at = now(), expires_at = now() + make_interval(secs => ${ttlSeconds})
        where ${fencedBy(sql, job)} and (${from(sql, "complete")} or ${to(sql, "complete")})`
    )
  )

/** Gives the job back to be tried again; `failed` counts the attempt against its retries. Idempotent, as `complete`. */
export const release = (sql: postgres.Sql, job: ClaimedJob, failed: boolean) =>
  orLeaseLost(job, "release", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports set ${to(sql, "release")}, failures = ${job.failures + (failed ? 1 : 0)}
        where ${fencedBy(sql, job)} and (${from(sql, "release")} or ${to(sql, "release")})`
    )
  )

/**
 * Takes back that the attempt counts as a crash. The job was handed out again while the attempt's process still
 * lives, because its heartbeat did not arrive; this happens when Sluice's own database is away.
 */
export const survived = (sql: postgres.Sql, { id, epoch }: ClaimedJob) =>
  runQuery(
    `look after export ${id}`,
    () => sql`
      update sluice.exports set crashes = crashes - 1
      where id = ${id} and epoch > ${epoch} and crashes > 0 and ${from(sql, "cancel")}`
  ).pipe(Effect.asVoid)

/** Fails the job; `message` is the export's error. */
export const fail = (sql: postgres.Sql, job: ClaimedJob, message: string) =>
  orLeaseLost(job, "fail", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports set ${to(sql, "fail")}, error = ${message}, completed_at = now()
        where ${fencedBy(sql, job)} and ${from(sql, "fail")}`
    )
  )

/** Cancels an unfinished export, takes it out of the queue, and notifies its worker. Returns false if it was finished. */
export const cancel = (sql: postgres.Sql, id: string) =>
  runQuery(`cancel export ${id}`, async () => {
    const changed = await sql`
      with changed as (
        update sluice.exports set ${to(sql, "cancel")}, completed_at = now()
        where id = ${id} and ${from(sql, "cancel")} returning id
      ), withdrawn as (${withdrawal(sql)})
      select pg_notify(${channels.cancelled}, id::text), pg_notify(${channels.changed}, id::text) from changed`
    return changed.length > 0
  })

/** Marks a completed export as expired, before its file is removed. */
export const expire = (sql: postgres.Sql, id: string) =>
  runQuery(`expire export ${id}`, () =>
    withNotify(
      sql,
      sql`
        update sluice.exports set ${to(sql, "expire")}, expires_at = least(expires_at, now())
        where id = ${id} and ${from(sql, "expire")}`
    )
  )

/** Marks a completed export whose file is not what was written. */
export const damage = (sql: postgres.Sql, attempt: Attempt, message: string) =>
  runQuery(`mark export ${attempt.id} as damaged`, () =>
    withNotify(
      sql,
      sql`
        update sluice.exports set ${to(sql, "damage")}, error = ${message}, sha256 = null
        where ${fencedBy(sql, attempt)} and ${from(sql, "damage")}`
    )
  )

/** Keeps the digest of the file, in base64. */
export const keepSha256 = (sql: postgres.Sql, id: string, sha256: string) =>
  runQuery(`keep the digest of export ${id}`, () => sql`update sluice.exports set sha256 = ${sha256} where id = ${id}`)
