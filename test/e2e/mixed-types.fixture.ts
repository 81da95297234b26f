/** A table of the usual types, its values as PostgreSQL writes them, and two parsers that read an export of it. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import type postgres from "postgres"
import { defaultDialect, type Dialect } from "../../src/formats/csv/dialect.ts"
import { parseCsv } from "../formats/csv/csv-arbitraries.ts"
import { temporaryDirectory } from "../support/shared-service.ts"

const notes = [
  "plain",
  "a,b;c",
  'say "so"',
  "two\nlines",
  "cr\rand\r\ncrlf",
  "a\ttab",
  "👩‍👩‍👧 é 漢",
  " spaces ",
  "",
  null,
  "\\."
].concat([
  "NULL",
  "00123",
  "say 'so'",
  "=1+1",
  "+1",
  "-1",
  "@a",
  "\tfirst",
  "\nfirst",
  "\rfirst",
  "  =1",
  "＝1",
  "＋1",
  "－1",
  "＠1"
])

/** Creates the table `public.goods`. After a row of NULL alone, two rows have times that ISO 8601 cannot write, and NaN. */
export const createGoods = async (sql: postgres.Sql) => {
  await sql.unsafe(`
    create table public.goods (
      n int primary key, id bigint, exact numeric, price numeric(12,2), coins numeric(38,18), ratio float8, truth boolean,
      day date, moment timestamptz, wall timestamp, note text, fixed char(6), bytes bytea, doc json, words text[], key uuid
    )`)
  await sql.unsafe(
    `insert into public.goods
     select n, (array[0, 7, -999999999999999, 1000000000000000, 9223372036854775807, -9223372036854775808])[1 + n % 6],
       (array[0, 1.50, -99999999999999.9, 0.1234567890123456, 1234567890123456, 12345678901234567890.123])[1 + n % 6],
       n * -1.25, n * 1.5, (array[0.1, -2.5, 1e300, 0.1::float8 + 0.2, 5e-324])[1 + n % 5], n % 2 = 0,
       date '1899-12-25' + n, timestamptz '1850-06-01 00:00:00.5+00' + n * interval '10 years 1.000001 s',
       timestamp '2024-02-28 23:59:59.999999' + n * interval '1 hour', note, left(coalesce(note, 'a'), 3),
       sha256(n::text::bytea), json_build_object('n', n, 'note', note), array[note, 'a,b', '"', null], md5(n::text)::uuid
     from json_array_elements_text($1::text::json) with ordinality as notes (note, at), lateral (select at::int) numbers (n)`,
    [JSON.stringify(notes)]
  )
  await sql.unsafe(`
    insert into public.goods (n) values (100);
    insert into public.goods (n, exact, ratio, moment, wall, day) values
      (101, 'NaN', 'NaN', 'infinity', '-infinity', 'infinity'),
      (102, '-Infinity', '-Infinity', '0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00 BC', '0044-03-15 BC')`)
}

type Cells = ReadonlyArray<string | null>

/** Returns the values of a query as text of PostgreSQL, and the types of its columns. */
export const sourceValues = async (sql: postgres.Sql, table: string) => {
  const columns = await sql<Array<{ name: string; type: string }>>`
    select attname as name, format_type(atttypid, null) as type from pg_attribute
    where attrelid = ${table}::regclass and attnum > 0 order by attnum`
  await sql.unsafe("set timezone = 'UTC'; set datestyle = 'ISO'")
  const rows = await sql.unsafe(`select * from ${table}`).raw()
  return { columns: [...columns], rows: rows.map((row) => row.map((cell) => (cell as Buffer | null)?.toString() ?? null)) }
}

/** Describes how a file is to be read. */
export interface Layout {
  readonly encoding: "utf-8" | "utf-16le"
  readonly dialect: Pick<Dialect, "delimiter" | "newline">
}

/** Returns the text of a file, without a byte order mark. */
const decode = (file: Buffer, { encoding }: Layout) => new TextDecoder(encoding, { fatal: true }).decode(file)

/** Parses a file with csv-parse. Returns its lines, the header included. */
export const readByCsvParse = (file: Buffer, layout: Layout) =>
  parseCsv(Buffer.from(decode(file, layout)), { ...defaultDialect, ...layout.dialect }) as ReadonlyArray<Cells>

/** Parses a file with DuckDB. Returns the rows of `select`. `columns` has the names with their types. */
export const readByDuckdb = async (
  file: Buffer,
  layout: Layout,
  columns: ReadonlyArray<readonly [name: string, type: string]>,
  select = "*"
): Promise<ReadonlyArray<ReadonlyArray<unknown>>> => {
  const path = join(await temporaryDirectory(), "file.csv")
  await writeFile(path, decode(file, layout))
  // Otherwise DuckDB looks for missing extensions on the internet.
  const offline = { autoinstall_known_extensions: "false", autoload_known_extensions: "false" }
  const instance = await DuckDBInstance.create(":memory:", { ...offline, threads: "1" })
  const connection = await instance.connect()
  try {
    const { delimiter, newline } = layout.dialect
    const types = columns.map(([name, type]) => `'${name}': '${type}'`).join()
    const reader = await connection.runAndReadAll(
      String.raw`select ${select} from read_csv('${path}', auto_detect = false, header = true, columns = {${types}},
        delim = '${delimiter}', quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false,
        new_line = '${newline === "crlf" ? "\\r\\n" : "\\n"}', parallel = false)`
    )
    return reader.getRows()
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}
