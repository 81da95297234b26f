import type postgres from "postgres"
import { toStoredSpec, type ExportSpec } from "../../exports/export-spec.ts"
import { limits } from "../../limits.ts"
import { runQuery } from "../../postgres/app-database.ts"

/** Sums over finished exports. */
export interface ExportStatistics {
  readonly exports: number
  readonly bytes: number
  readonly rows: number
  readonly seconds: number
}

/** The exports that are summed up: those with the columns and the format of a spec, or all of its dataset. */
export type Scope = "same" | "any"

/** Sums up the last finished exports of the spec's dataset, by scope. A scope without exports is absent. */
export const exportStatistics = (sql: postgres.Sql, spec: ExportSpec) =>
  runQuery("look up earlier exports", async () => {
    const rows = await sql<Array<ExportStatistics & { scope: Scope }>>`
      with earlier as (
        select bytes, processed_rows as rows, extract(epoch from completed_at - started_at)::float8 as seconds,
          (spec -> 'columns', spec -> 'format') = (asked -> 'columns', asked -> 'format') as same
        from sluice.exports, (select ${JSON.stringify(toStoredSpec(spec))}::text::jsonb as asked) asked
        where dataset = ${spec.dataset} and status in ('completed', 'expired') and processed_rows > 0
        order by completed_at desc limit ${limits.estimateExports}
      )
      select scope, count(*)::int as exports, sum(bytes)::float8 as bytes, sum(rows)::float8 as rows, sum(seconds) as seconds
      from earlier, unnest(case when same then array['same', 'any'] else array['any'] end) scope group by scope`
    return new Map<Scope, ExportStatistics>(rows.map(({ scope, ...sums }) => [scope, sums]))
  })
