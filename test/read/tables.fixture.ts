/** Tables to export, what COPY writes for them, and functions that read exports, for COPY and for cursors. */
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import * as fc from "fast-check"
import postgres from "postgres"
import { defaultDialect, type Dialect } from "../../src/formats/csv/dialect.ts"
import type { ExportBytes, CsvLayout } from "../../src/read/export-bytes.ts"
import { awkward, dialects } from "../formats/csv/csv-arbitraries.ts"
import { heapSettings } from "../support/runtime.ts"
import { inTime } from "./reading.fixture.ts"

export const MEGABYTE = 1 << 20

/** The options of properties of tables: shrinking takes long, and a failure must be reported within the time limit of the test. */
export const property = { interruptAfterTimeLimit: 40_000, markInterruptAsFailure: true }

const literal = (value: string) => `'${value.replaceAll("'", "''")}'`
const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`

/** Writes the options of COPY for a dialect that reading and writing share. */
export const copyOptions = ({ delimiter, quote, null: nothing }: Dialect = defaultDialect) =>
  `format csv, delimiter ${literal(delimiter)}, quote ${literal(quote)}, escape ${literal(quote)}, null ${literal(nothing)}`

/** Says that every other column is text, whatever it is. */
const isText = (_: unknown, column: number) => column % 2 === 0

/** Writes the options of COPY for writing, with those for what is quoted. */
export const writeOptions = (dialect: Dialect, columns: ReadonlyArray<string>) => {
  const forced = dialect.quoting === "minimal" ? [] : dialect.quoting === "all" ? columns : columns.filter(isText)
  return `${copyOptions(dialect)}${forced.length > 0 ? `, force_quote (${forced.map(identifier).join()})` : ""}`
}

export const layoutOf = (columns: ReadonlyArray<string>, dialect: Dialect = defaultDialect): CsvLayout => ({
  dialect,
  header: columns,
  isTextColumn: columns.map(isText),
  bom: false
})

/** Returns what COPY writes, over a connection of its own: postgres.js may leave a socket paused after a COPY. */
export const copyOut = async (url: string, query: string, dialect: Dialect = defaultDialect): Promise<Buffer> => {
  const connection = { TimeZone: "UTC", DateStyle: "ISO" } as unknown as NonNullable<postgres.Options<{}>["connection"]>
  const client = postgres(url, { max: 1, fetch_types: false, onnotice: () => {}, connection })
  try {
    const { columns } = await client.unsafe(`select * from (${query}) q limit 0`)
    const names = columns.map(({ name }) => name)
    // The header is text and is quoted as text is, which COPY does not do.
    const quoteAll = (name: string) => dialect.quote + name.split(dialect.quote).join(dialect.quote.repeat(2)) + dialect.quote
    const own = dialect.quoting === "minimal" ? "" : `${names.map(quoteAll).join(dialect.delimiter)}\n`
    const copy = await client
      .unsafe(`copy (${query}) to stdout (${writeOptions(dialect, names)}, header ${own === ""})`)
      .readable()
    const lines: Array<Buffer> = own === "" ? [] : [Buffer.from(own)]
    // COPY sends each line as a message.
    await new Promise<void>((resolve, reject) => {
      copy
        .on("data", (line: Buffer) => lines.push(Buffer.from(line)))
        .once("end", resolve)
        .once("error", reject)
    })
    const crlf = Buffer.from("\r\n")
    return Buffer.concat(dialect.newline === "lf" ? lines : lines.flatMap((line) => [line.subarray(0, -1), crlf]))
  } finally {
    await client.end({ timeout: 0 })
  }
}

/** How the rest of a file is taken: how many chunks are held before they are given back, and after which turns of the event loop. */
interface Pace {
  readonly atOnce?: number
  readonly turns?: number
}

/** Reads the rest of the file. A buffer is overwritten before it is given back. */
export const rest = async (rows: ExportBytes, { atOnce = 1, turns = 0 }: Pace = {}): Promise<Buffer> => {
  const file: Array<Buffer> = []
  let held: Array<Uint8Array> = []
  const giveBack = () => {
    for (const chunk of held) {
      // All of the buffer is overwritten, since nobody may read it again.
      new Uint8Array(chunk.buffer).fill(0xa5)
      rows.recycle(chunk)
    }
    held = []
  }
  for (let chunk; (chunk = await inTime(rows.next()));) {
    file.push(Buffer.from(chunk))
    held.push(chunk)
    if (held.length >= atOnce) giveBack()
    for (let turn = 0; turn < turns; turn++) await setImmediate()
  }
  return Buffer.concat(file)
}

/** Reads chunks until they have so many bytes. */
export const take = async (rows: ExportBytes, bytes: number): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for (let taken = 0; taken < bytes; taken += chunks.at(-1)!.length) {
    const chunk = (await inTime(rows.next()))!
    chunks.push(Buffer.from(chunk))
    rows.recycle(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Reads a query with one column, `wide`, in a process of its own with the heap settings of the service. Returns the length
 * of the file, and by how much resident memory rose.
 */
export const measure = async (
  url: string,
  source: "copy" | "cursor",
  query: string
): Promise<{ bytes: number; grownMB: number }> => {
  const program = `
    import { Effect } from "effect"
    import { CopyBytes } from "./src/read/copy/copy-bytes.ts"
    import { CursorBytes } from "./src/read/cursor/cursor-bytes.ts"
    import { openSession } from "./src/source/session.ts"
    const { READ, QUERY, SOURCE } = process.env
    const dialect = ${JSON.stringify(defaultDialect)}
    const shape = { dialect, header: ["wide"], isTextColumn: [true], bom: false }
    const sources = {
      copy: (connection) =>
        new CopyBytes(connection, shape, ["copy (" + QUERY + ") to stdout (format csv)"].values(), 0, 65536, 0),
      cursor: (connection) =>
        new CursorBytes(connection, shape, { statement: { text: QUERY, values: [] }, estimatedRows: 0 }, 1000, 65536)
    }
    const read = async (connection) => {
      const rows = sources[READ](connection)
      const before = process.memoryUsage.rss()
      let bytes = 0, peak = before
      for (let chunk; (chunk = await rows.next()); rows.recycle(chunk)) {
        bytes += chunk.length
        peak = Math.max(peak, process.memoryUsage.rss())
      }
      console.log(JSON.stringify({ bytes, grownMB: (peak - before) / 2 ** 20 }))
    }
    const reading = Effect.flatMap(openSession(SOURCE), (connection) => Effect.promise(() => read(connection)))
    await Effect.runPromise(Effect.scoped(reading))`
  const env = { ...process.env, READ: source, QUERY: query, SOURCE: url, ...heapSettings }
  const child = Bun.spawn([process.execPath, "-e", program], { cwd: join(import.meta.dir, "../.."), env, stdout: "pipe" })
  return (await child.stdout.json()) as { bytes: number; grownMB: number }
}

const texts = (dialect: Dialect) => {
  const pieces = fc.constantFrom("a".repeat(250), ...awkward(dialect))
  const part = fc.oneof(pieces, fc.string({ unit: "grapheme", maxLength: 4 }))
  return fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom(null, "", "\\.", dialect.quote, dialect.delimiter, "\n", "\r") },
    { weight: 60, arbitrary: fc.array(part, { maxLength: 6 }).map((all) => all.join("")) },
    { weight: 1, arbitrary: fc.tuple(part, fc.constantFrom(300, 5000)).map(([one, times]) => one.repeat(times)) }
  )
}

type Row = ReadonlyArray<string | null>
interface Table {
  readonly dialect: Dialect
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
  /** The row, the column and the repeated text of a cell of a megabyte. */
  readonly large: readonly [number, number, string] | null
}

/** Generates tables of text, some with many rows, some with a cell of a megabyte. */
export const tables: fc.Arbitrary<Table> = dialects.chain((dialect) =>
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.oneof(fc.nat(3), fc.nat(250))).chain(([width, height]) => {
    const row = fc.array(texts(dialect), { minLength: width, maxLength: width })
    const odd = fc.constantFrom("\\.", '"', "a,b", " ", "\n", dialect.delimiter, dialect.quote)
    return fc.record({
      dialect: fc.constant(dialect),
      columns: fc.uniqueArray(fc.oneof(odd, fc.string({ minLength: 1, maxLength: 9 })), { minLength: width, maxLength: width }),
      rows: fc.array(row, { minLength: height, maxLength: height }),
      large: fc.option(fc.tuple(fc.nat(), fc.nat(width - 1), fc.constantFrom("x", dialect.quote, "é")), { freq: 2 })
    })
  })
)

/** Generates sizes of chunks and batches, and how many chunks are taken at once. */
export const sizes = fc.record({
  batchSize: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(100, 1000)),
  chunkSize: fc.constantFrom(1024, 4096, 65_536),
  atOnce: fc.constantFrom(1, 2, 16)
})

/** Returns the rows of a table, with the large cell. */
export const rowsOfTable = ({ rows, large }: Table): Array<Row> =>
  rows.map((row, at) =>
    large && at === large[0] % rows.length
      ? row.map((cell, column) => (column === large[1] ? large[2].repeat(MEGABYTE) : cell))
      : row
  )

/** Creates the table `texts` on many pages, and returns the query for its columns. */
export const createTextTable = async (sql: postgres.Sql, { columns }: Table, rows: ReadonlyArray<Row>) => {
  const definitions = columns.map((column) => `${identifier(column)} text`)
  await sql.unsafe(
    `drop table if exists texts;
     create unlogged table texts ("row number" int, ${definitions.join()}) with (fillfactor = 10)`
  )
  await sql.unsafe(
    `insert into texts select n, ${columns.map((_, at) => `line->>${at}`).join()}
     from json_array_elements($1::text::json) with ordinality lines (line, n)`,
    [JSON.stringify(rows)]
  )
  return `select ${columns.map(identifier).join()} from texts`
}

/** A query with every type whose text depends on the session, or is easily damaged in a client. */
const everyType = String.raw`
  create type mood as enum ('sad', 'so "so"', 'a,b');
  create unlogged table every_type (
    id bigint, small smallint, exact numeric, money numeric(12,2), single real, double float8, truth boolean,
    moment timestamptz, wall timestamp, day date, hour time, zoned timetz, span interval,
    bytes bytea, plain json, binary_json jsonb, numbers int[], words text[], matrix text[][], key uuid,
    net inet, fixed char(5), varying varchar(20), feeling mood, pair point, range tstzrange, bits varbit, doc xml, lexemes tsvector
  );
  insert into every_type
  select i, (i % 65536) - 32768, (i::numeric ^ 9) / 7, i / 100.0, i / 3.0::real, exp(i % 700 - 350)::float8, i % 2 = 0,
    timestamptz '1900-01-01 00:00:00.123456+00' + i * interval '97 days 3 hours 1.000001 s',
    timestamp '2000-02-29 23:59:59.999999' - i * interval '1 month', date '4713-01-01 BC' + i * 997,
    time '00:00:00' + i * interval '1.0001 s', timetz '12:00:00+05:30' + i * interval '7 s',
    make_interval(years => i % 3, months => -i % 5, days => i % 40, secs => -i / 7.0),
    decode(md5(i::text), 'hex'), json_build_object('n', i, 'quote', '"', 'null', null), jsonb_build_array(i, 'a,b', E'\n', null),
    array[i, null, -i], array['a,b', '"', '', null, E'\r\n', '\'], array[['x', ' '], ['{}', 'NULL']], md5(i::text)::uuid,
    '10.0.0.0'::inet + i, i % 100, repeat(chr(233), i % 20), (enum_range(null::mood))[1 + i % 3], point(i, -i / 3.0),
    tstzrange(to_timestamp(i), null), i::bit(17), '<a b="c">,</a>', to_tsvector('simple', 'it''s a "' || i)
  from generate_series(0, 2999) i;
  insert into every_type (id) values (null), (null);
  insert into every_type (id, exact, single, double, moment, wall, day, span, bytes, numbers, words) values
    (-9223372036854775808, 'NaN', '-0', 'NaN', 'infinity', '-infinity', 'infinity', 'infinity', '', '{}', '{}'),
    (9223372036854775807, '-Infinity', 'Infinity', '-Infinity', '-infinity', 'infinity', '-infinity', '-infinity', '\x00ff', null, '{""}'),
    (0, '1e-16383', '1.17549435e-38', '5e-324', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999', '5874897-12-31',
      '-178000000 years', '\x2c220a', '[2:3]={1,2}', '{"a\"b"}');
  update every_type set money = 9999999999.99 where id = 0`

/** Creates the table `every_type`. */
export const createEveryType = async (sql: postgres.Sql) => {
  await sql.unsafe(everyType)
  const columns = (await sql.unsafe("select * from every_type limit 0")).columns.map(({ name }) => name)
  return { columns, query: `select ${columns.join()} from every_type` }
}
