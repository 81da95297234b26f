import { Data, Effect } from "effect"
import type postgres from "postgres"
import type { ExportFile, ExportJob } from "../../exports/export-job.ts"
import { fromStoredFormat } from "../../exports/export-spec.ts"
import { runQuery, type DatabaseError } from "../../postgres/app-database.ts"
import type { StoredAttempt } from "../../storage/export-storage.ts"

/** There is no export with this id; none has an id that is no UUID. */
export class ExportNotFound extends Data.TaggedError("ExportNotFound")<{ readonly id: string }> {
  static readonly problem = { type: "export-not-found", status: 404, meaning: "There is no export with this id." } as const
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The columns of an answer. The spec is not among them, since it may have 64 KB. */
const jobColumns = (sql: postgres.Sql) => sql`
  id, sequence::float8 as sequence, dataset, status, epoch, total_rows::float8 as "totalRows",
  total_rows_exact as "totalRowsExact", processed_rows::float8 as "processedRows", percentage, error,
  bytes::float8 as bytes, crc32, sha256, truncated_by as "truncatedBy", created_at as "createdAt", started_at as "startedAt",
  completed_at as "completedAt", expires_at as "expiresAt",
  case status when 'processing' then waiting_since when 'pending' then
    (select min(waiting_since) from sluice.exports where status = 'processing') end as "waitingSince"`

const byId = <A extends ExportJob>(
  sql: postgres.Sql,
  id: string,
  columns: postgres.Fragment
): Effect.Effect<A, ExportNotFound | DatabaseError> =>
  UUID.test(id)
    ? runQuery(
        `read export ${id}`,
        async () => (await sql<Array<A>>`select ${columns} from sluice.exports where id = ${id}`)[0]
      ).pipe(
        Effect.filterOrFail(
          (found) => found !== undefined,
          () => new ExportNotFound({ id })
        )
      )
    : Effect.fail(new ExportNotFound({ id }))

/** Reads an export. */
export const get = (sql: postgres.Sql, id: string) => byId<ExportJob>(sql, id, jobColumns(sql))

/** Reads an export with what the headers of its file need. */
export const getFile = (sql: postgres.Sql, id: string) =>
  Effect.map(
    byId<ExportJob & { readonly format: unknown }>(sql, id, sql`${jobColumns(sql)}, spec -> 'format' as format`),
    ({ format, ...job }): ExportFile => ({ ...job, format: fromStoredFormat(format) })
  )

/**
 * Lists exports, newest first; `before` is the sequence of the last one seen. Returns one more than `limit` if there
 * are more.
 */
export const list = (sql: postgres.Sql, limit: number, before: number) =>
  runQuery(
    "list the exports",
    () => sql<Array<ExportJob>>`
      select ${jobColumns(sql)} from sluice.exports where sequence < ${before} order by sequence desc limit ${limit + 1}`
  )

/** Finds the stored attempts that belong to no running or completed export. */
export const staleAttempts = (sql: postgres.Sql, stored: ReadonlyArray<StoredAttempt>) =>
  runQuery("look up stored exports", async () => {
    const rows = await sql<Array<{ id: string; epoch: number; live: boolean }>>`
      select id, epoch, status in ('processing', 'completed') as live
      from sluice.exports where id = any(${stored.map(({ id }) => id)}::uuid[])`
    const known = new Map(rows.map((row) => [row.id, row]))
    return {
      /** Attempts of a finished export, and those before an export's last one. */
      stale: stored.filter(({ id, epoch }) => {
        const row = known.get(id)
        return row !== undefined && (!row.live || epoch < row.epoch)
      }),
      /** Attempts of exports that this database does not know. */
      unknown: stored.filter(({ id }) => !known.has(id))
    }
  })

/** Succeeds when the app database answers. */
export const check = (sql: postgres.Sql) => runQuery("reach Sluice's database", () => sql`select 1`)
