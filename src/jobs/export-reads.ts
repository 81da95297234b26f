import { Data, Effect } from "effect"
import type postgres from "postgres"
import { limits } from "../limits.ts"
import type { ExportFile, ExportJob } from "../exports/export-job.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { DatabaseError, runQuery } from "../postgres/app-database.ts"
import type { StoredAttempt } from "../storage/export-storage.ts"

/** Every read and write of an export may fail with it. */
export { DatabaseError }

/** There is no export with this id; none has an id that is no UUID. */
export class ExportNotFound extends Data.TaggedError("ExportNotFound")<{ readonly id: string }> {
  static readonly problem = { type: "export-not-found", status: 404, meaning: "There is no export with this id." } as const
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const byId = <A>(
  id: string,
  read: (id: string) => PromiseLike<ReadonlyArray<A>>
): Effect.Effect<A, ExportNotFound | DatabaseError> =>
  UUID.test(id)
    ? runQuery(`read export ${id}`, async () => (await read(id))[0]).pipe(
        Effect.filterOrFail(
          (found) => found !== undefined,
          () => new ExportNotFound({ id })
        )
      )
    : Effect.fail(new ExportNotFound({ id }))

/** Sums over finished exports. */
export interface Measured {
  readonly exports: number
  readonly bytes: number
  readonly rows: number
  readonly seconds: number
}

/** Reads `sluice.exports`. Only the columns that an answer needs are selected, since a spec may have 64 KB. */
export const exportReads = (sql: postgres.Sql) => {
  const answered = sql`
    id, sequence::float8 as sequence, dataset, status, epoch, total_rows::float8 as "totalRows",
    total_rows_exact as "totalRowsExact", processed_rows::float8 as "processedRows", percentage, error,
    bytes::float8 as bytes, crc32, sha256, created_at as "createdAt", started_at as "startedAt",
    completed_at as "completedAt", expires_at as "expiresAt",
    case status when 'processing' then waiting_since when 'pending' then
      (select min(waiting_since) from sluice.exports where status = 'processing') end as "waitingSince"`

  const find = Effect.fn("ExportStore.find")((exportId: string) =>
    byId(exportId, (id) => sql<Array<ExportJob>>`select ${answered} from sluice.exports where id = ${id}`)
  )

  const findFile = Effect.fn("ExportStore.findFile")((exportId: string) =>
    byId(
      exportId,
      (id) => sql<Array<ExportFile>>`select ${answered}, spec -> 'format' as format from sluice.exports where id = ${id}`
    )
  )

  /**
   * Lists exports, newest first; `before` is the sequence of the last one seen. Returns one more than `limit` if there
   * are more.
   */
  const list = Effect.fn("ExportStore.list")((limit: number, before: number = Number.MAX_SAFE_INTEGER) =>
    runQuery(
      "list the exports",
      () => sql<Array<ExportJob>>`
        select ${answered} from sluice.exports where sequence < ${before} order by sequence desc limit ${limit + 1}`
    )
  )

  /** Finds the stored attempts that belong to no running or completed export. */
  const staleAttempts = (stored: ReadonlyArray<StoredAttempt>) =>
    runQuery("look up stored exports", async () => {
      const rows = await sql<Array<{ id: string; epoch: number; live: boolean }>>`
        select id, epoch, status in ('processing', 'completed') as live from sluice.exports where id = any(${stored.map(({ id }) => id)}::uuid[])`
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

  /** Measures the last exports of the spec's dataset, and those among them with the same columns and format. */
  const measured = Effect.fn("ExportStore.measured")(({ dataset, columns, format }: ExportSpec) =>
    runQuery("look up earlier exports", async () => {
      const rows = await sql<Array<Measured & { likeness: "same" | "any" }>>`
        with earlier as (
          select bytes, processed_rows as rows, extract(epoch from completed_at - started_at)::float8 as seconds,
            spec -> 'columns' = ${JSON.stringify(columns)}::text::jsonb
              and spec -> 'format' = ${JSON.stringify(format)}::text::jsonb as same
          from sluice.exports
          where dataset = ${dataset} and status in ('completed', 'expired') and processed_rows > 0
          order by completed_at desc limit ${limits.estimateExports}
        )
        select likeness, count(*)::int as exports, sum(bytes)::float8 as bytes, sum(rows)::float8 as rows, sum(seconds) as seconds
        from earlier, unnest(case when same then array['same', 'any'] else array['any'] end) likeness group by likeness`
      return new Map(rows.map(({ likeness, ...sums }) => [likeness, sums]))
    })
  )

  const check = runQuery("reach Sluice's database", () => sql`select 1`)

  return { check, find, findFile, list, staleAttempts, measured } as const
}
