import { Effect } from "effect"
import type postgres from "postgres"
import { limits } from "../../limits.ts"
import { runQuery } from "../../postgres/app-database.ts"
import type { Attempt } from "../../storage/export-storage.ts"
import { mayStillRun } from "../queue.ts"
import { from, to, withNotify } from "./fragments.ts"

const idsOf = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)

/** Marks all exports past their time as expired and returns their ids. */
export const expireDue = (sql: postgres.Sql) =>
  runQuery("expire exports", () =>
    withNotify(sql, sql`update sluice.exports set ${to(sql, "expire")} where ${from(sql, "expire")} and expires_at <= now()`)
  ).pipe(Effect.map(idsOf))

/** Fails what the queue has given up on, unfinished exports without a job that may still run, and returns their ids. */
export const failAbandoned = (sql: postgres.Sql) => {
  const message = "Cannot finish the export: the service stopped too often while it ran. Create it again."
  return runQuery("fail abandoned exports", () =>
    withNotify(
      sql,
      sql`
        update sluice.exports e set ${to(sql, "fail")}, error = ${message}, completed_at = now()
        where e.${from(sql, "fail")} and e.created_at < now() - interval '1 minute' and not ${mayStillRun(sql, sql`e.id`)}`
    )
  ).pipe(Effect.map(idsOf))
}

/** Lists exports that ended without a file to serve, each with its last attempt, as long as their files are not removed. */
export const endedExports = (sql: postgres.Sql) =>
  runQuery(
    "look up ended exports",
    () => sql<Array<Attempt>>`
      select id, epoch from sluice.exports
      where not files_removed and status in ('failed', 'cancelled', 'expired') limit ${limits.sweepExports}`
  )

/** Records that nothing of these exports is stored any more. */
export const markFilesRemoved = (sql: postgres.Sql, ids: ReadonlyArray<string>) =>
  runQuery(
    "record removed files",
    () => sql`
      update sluice.exports set files_removed = true
      where id = any(${[...ids]}::uuid[]) and status in ('failed', 'cancelled', 'expired')`
  ).pipe(Effect.asVoid)

/** Deletes the rows of exports whose file was gone `historyDays` ago, and returns how many there were. */
export const deleteOldExports = (sql: postgres.Sql) =>
  runQuery("delete old exports", async () => {
    const old = await sql`
      delete from sluice.exports where status in ('failed', 'cancelled', 'expired')
        and completed_at < now() - make_interval(days => ${limits.historyDays})
        and (expires_at is null or expires_at < now() - make_interval(days => ${limits.historyDays}))`
    return old.count
  })
