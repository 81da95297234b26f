/** The requests of PostgREST's tests, a service that has their tables, and the comparison of rows. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { parse } from "csv-parse/sync"
import type postgres from "postgres"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import type { Catalog, SpecRequest, Translation } from "./translate.ts"

type Row = Readonly<Record<string, unknown>>

const read = (file: string) => readFile(join(import.meta.dir, file), "utf8")

export const requests: ReadonlyArray<SpecRequest> = (await read("requests.jsonl"))
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as SpecRequest)

export interface Corpus {
  readonly service: Service
  readonly sql: postgres.Sql
  readonly catalog: Catalog
  /** The rows of a query. */
  readonly jsonOf: (query: string) => Promise<ReadonlyArray<Row>>
}

/** Starts a service on the fixtures and `more` tables. */
export const startCorpus = async (more: string): Promise<Corpus> => {
  const url = await freshDatabase()
  const sql = await connect(url, 4)
  await sql.unsafe(await read("fixtures.sql"))
  await sql.unsafe(more)
  const [database] = await sql<[{ name: string }]>`select format('%I', current_database()) as name`
  await sql.unsafe(`alter database ${database.name} set default_text_search_config = 'english'`)
  const columns = await sql<ReadonlyArray<{ relation: string; column: string; type: string }>>`
    select c.relname as relation, a.attname as column, format_type(a.atttypid, a.atttypmod) as type
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'test'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p') and a.attnum > 0
    order by c.relname, a.attnum`
  const catalog = new Map(
    [...Map.groupBy(columns, ({ relation }) => relation)].map(([relation, all]) => [
      relation,
      new Map(all.map(({ column, type }) => [column, type]))
    ])
  )
  const service = await startService({ DATABASE_URL: url, EXPORT_DATASETS: "test.*", RATE_LIMIT_MAX: "10000" })
  const jsonOf = async (query: string) =>
    (await sql.unsafe<Array<{ row: Row }>>(`select to_json(t) as row from (${query}) t`)).map(({ row }) => row)
  return { service, sql, catalog, jsonOf }
}

/** The values of a CSV as PostgREST would write them in JSON: what the server's to_json makes of them. */
export const rowsOf = async (
  csv: string,
  { selected, table }: Translation,
  { sql, catalog }: Corpus
): Promise<ReadonlyArray<Row>> => {
  const lines = parse(csv, { cast: (value, { quoting }) => (value === "" && !quoting ? null : value) }) as ReadonlyArray<
    ReadonlyArray<string | null>
  >
  const [header = [], ...records] = lines
  if (header.join() !== selected.map(({ label }) => label).join()) throw new Error(`the header is ${header.join()}`)
  const types = selected.map(({ column, at }) => at ?? catalog.get(table)!.get(column)!)
  const values = types.map((type, nth) => `to_json((record ->> ${nth})::${type})`)
  const found = await sql.unsafe<Array<{ values: ReadonlyArray<unknown> }>>(
    `select json_build_array(${values.join(", ")}) as values
    from json_array_elements($1::text::json) with ordinality _(record, nth) order by nth`,
    [JSON.stringify(records)]
  )
  return found.map((row) => Object.fromEntries(selected.map(({ label }, nth) => [label, row.values[nth] ?? null])))
}

/** Eight at a time. */
export const forEach = async <A>(items: ReadonlyArray<A>, work: (item: A) => Promise<void>): Promise<void> => {
  const left = items.values()
  const worker = async () => {
    for (const item of left) await work(item)
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, one]) => [key, canonical(one)])
        )
      : value

/** One text for equal rows, in whatever order where it does not matter. */
export const written = (rows: ReadonlyArray<Row>, ordered: boolean): string => {
  const all = rows.map((row) => JSON.stringify(canonical(row)))
  return (ordered ? all : all.toSorted()).join("\n")
}
