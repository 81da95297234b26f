import { Effect } from "effect"
import type postgres from "postgres"
import { limits } from "../../limits.ts"
import { runQuery } from "../../postgres/app-database.ts"
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

/** Deletes the rows of exports whose file was gone `historyDays` ago, and returns how many there were. */
export const deleteOldExports = (sql: postgres.Sql) =>
  runQuery("delete old exports", async () => {
    const old = await sql`
      delete from sluice.exports where status in ('failed', 'cancelled', 'expired')
        and completed_at < now() - make_interval(days => ${limits.historyDays})
        and (expires_at is null or expires_at < now() - make_interval(days => ${limits.historyDays}))`
    return old.count
  })
