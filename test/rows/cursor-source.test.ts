/** CursorSource on a real PostgreSQL: its bytes against COPY's, which is the contract's definition of an export. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { join } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Effect } from "effect"
import * as fc from "fast-check"
import postgres from "postgres"
import { defaultDialect, type Dialect } from "../../src/csv/dialect.ts"
import { CursorSource } from "../../src/rows/cursor-source.ts"
import { connectSource } from "../../src/rows/source-connection.ts"
import { awkward, dialects, parseCsv } from "../csv/csv-arbitraries.ts"
import { heapSettings } from "../support/runtime.ts"
import { connect, freshDatabase } from "../support/shared.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)
/** Shrinking a table takes long; a failure is reported before the test's own limit ends the server. */
const property = { interruptAfterTimeLimit: 40_000, markInterruptAsFailure: true }
const MEGABYTE = 1 << 20

let url: string
let sql: postgres.Sql
beforeAll(async () => {
  url = await freshDatabase()
  sql = await connect(url, 1)
})
afterAll(() =>
  until("the last source connection to go", async () => {
    const left =
      await sql`select 1 from pg_stat_activity where application_name = 'sluice source' and datname = current_database()`
    return left.length === 0
  })
)

interface Reading extends Dialect {
  readonly columns: ReadonlyArray<string>
  readonly query: string
  readonly batchSize: number
  readonly chunkSize: number
}
const usual = { ...defaultDialect, batchSize: 1000, chunkSize: 65_536 }

/** Opens the query, lets `work` read it, and closes it. */
const reading = <A>({ query, batchSize, chunkSize, ...shape }: Reading, work: (rows: CursorSource) => Promise<A>): Promise<A> =>
  Effect.runPromise(
    connectSource(url).pipe(
      Effect.map((connection) => {
        const plan = { statement: { text: query, values: [] }, estimatedRows: 0 }
        return new CursorSource(connection, shape, plan, batchSize, chunkSize)
      }),
      Effect.flatMap((rows) => Effect.promise(() => work(rows))),
      Effect.scoped
    )
  )

/** What is left of the file. A buffer is spoiled before it is given back: nobody may read it again. */
const rest = async (rows: CursorSource): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for (let chunk; (chunk = await rows.next()); rows.recycle(chunk)) {
    chunks.push(Buffer.from(chunk))
    chunk.fill(0xa5)
  }
  return Buffer.concat(chunks)
}

const literal = (value: string) => `'${value.replaceAll("'", "''")}'`
const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`
const options = ({ delimiter, quote }: Dialect) =>
  `format csv, delimiter ${literal(delimiter)}, quote ${literal(quote)}, escape ${literal(quote)}`

/** What COPY writes, on a connection of its own: postgres.js may leave a socket paused after the end of a COPY. */
const copyOut = async (query: string, dialect: Dialect = defaultDialect): Promise<Buffer> => {
  const connection = { TimeZone: "UTC", DateStyle: "ISO" } as unknown as NonNullable<postgres.Options<{}>["connection"]>
  const client = postgres(url, { max: 1, fetch_types: false, connection })
  try {
    const copy = await client.unsafe(`copy (${query}) to stdout (${options(dialect)}, header true)`).readable()
    return Buffer.concat(await copy.toArray())
  } finally {
    await client.end({ timeout: 0 })
  }
}

/** How many rows of the query differ from those of a table like it that the file was loaded into. */
const lostByLoading = async (file: Buffer, query: string, dialect: Dialect): Promise<number> => {
  await sql.unsafe(`drop table if exists loaded; create unlogged table loaded as ${query} limit 0`)
  const copy = await sql.unsafe(`copy loaded from stdin (${options(dialect)}, header match)`).writable()
  await pipeline(Readable.from([file]), copy)
  const [result] = await sql.unsafe<[{ lost: number }]>(
    `with a as (select t::text from (${query}) t), b as (select t::text from loaded t)
     select count(*)::int as lost from ((table a except all table b) union all (table b except all table a)) difference`
  )
  return result.lost
}

/**
 * Reads a query of one column in a process of its own, with the service's heap setting: the file's length, and how
 * far resident memory rose above what it was before.
 */
const measure = async (query: string): Promise<{ bytes: number; grownMB: number }> => {
  const program = `
    import { Effect } from "effect"
    import { CursorSource } from "./src/rows/cursor-source.ts"
    import { connectSource } from "./src/rows/source-connection.ts"
    const read = async (connection) => {
      const plan = { statement: { text: process.env.QUERY, values: [] }, estimatedRows: 0 }
      const rows = new CursorSource(connection, { columns: ["wide"], delimiter: ",", quote: '"' }, plan, 1000, 65536)
      const before = process.memoryUsage.rss()
      let bytes = 0, peak = before
      for (let chunk; (chunk = await rows.next()); rows.recycle(chunk)) {
        bytes += chunk.length
        peak = Math.max(peak, process.memoryUsage.rss())
      }
      console.log(JSON.stringify({ bytes, grownMB: (peak - before) / 2 ** 20 }))
    }
    const reading = Effect.flatMap(connectSource(process.env.SOURCE), (connection) => Effect.promise(() => read(connection)))
    await Effect.runPromise(Effect.scoped(reading))`
  const env = { ...process.env, QUERY: query, SOURCE: url, ...heapSettings }
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

/** Tables of text, some of many rows, some with a cell of a megabyte. */
const tables = dialects.chain((dialect) =>
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.oneof(fc.nat(3), fc.nat(250))).chain(([width, height]) => {
    const row = fc.array(texts(dialect), { minLength: width, maxLength: width })
    const odd = fc.constantFrom("\\.", '"', "a,b", " ", "\n", dialect.delimiter, dialect.quote)
    return fc.record({
      dialect: fc.constant(dialect),
      columns: fc.uniqueArray(fc.oneof(odd, fc.string({ minLength: 1, maxLength: 9 })), { minLength: width, maxLength: width }),
      rows: fc.array(row, { minLength: height, maxLength: height }),
      large: fc.option(fc.tuple(fc.nat(), fc.nat(width - 1), fc.constantFrom("x", dialect.quote, "é")), { freq: 2 }),
      batchSize: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(100, 1000)),
      chunkSize: fc.constantFrom(1024, 4096, 65_536)
    })
  })
)

/** Makes the table of a property's run. A heap may put a row before earlier ones where there is room; hence the number. */
const createTextTable = async (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string | null>>) => {
  const definitions = columns.map((column) => `${identifier(column)} text`)
  await sql.unsafe(`drop table if exists texts; create unlogged table texts ("row number" int, ${definitions.join()})`)
  await sql.unsafe(
    `insert into texts select n, ${columns.map((_, at) => `line->>${at}`).join()}
     from json_array_elements($1::text::json) with ordinality lines (line, n)`,
    [JSON.stringify(rows)]
  )
  return `select ${columns.map(identifier).join()} from texts order by "row number"`
}

/** Has every type whose text depends on the session or is easily damaged on the way through a client. */
const createEveryType = String.raw`
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

describe("the file", () => {
  test("of any text is COPY's byte for byte, parses to the source, and loads again without loss", async () => {
    await fc.assert(
      fc.asyncProperty(tables, async ({ dialect, columns, rows, large, ...sizes }) => {
        const source = rows.map((row) => [...row])
        const [at = 0, column = 0, unit = ""] = large ?? []
        if (large && source.length > 0) source[at % source.length]![column] = unit.repeat(MEGABYTE)
        const query = await createTextTable(columns, source)
        const file = await reading({ ...dialect, ...sizes, columns, query }, rest)
        expect(file.equals(await copyOut(query, dialect))).toBe(true)
        expect(Bun.deepEquals(parseCsv(file, dialect), [columns, ...source])).toBe(true)
        expect(await lostByLoading(file, query, dialect)).toBe(0)
      }),
      { ...property, numRuns: 40 }
    )
  })

  test("of every type is COPY's byte for byte, and loads again without loss", async () => {
    await sql.unsafe(createEveryType)
    const columns = (await sql.unsafe("select * from every_type limit 0")).columns.map(({ name }) => name)
    const query = `select ${columns.join()} from every_type`
    await fc.assert(
      fc.asyncProperty(dialects, fc.integer({ min: 50, max: 1000 }), async (dialect, batchSize) => {
        const file = await reading({ ...usual, ...dialect, columns, query, batchSize }, rest)
        expect(file.equals(await copyOut(query, dialect))).toBe(true)
        expect(await lostByLoading(file, query, dialect)).toBe(0)
      }),
      { ...property, numRuns: 6 }
    )
  })

  test.each([0, 1, 15, 16, 17, 32, 1015, 1016, 1017, 2016])("has %d rows when the query has", async (count) => {
    const query = `select n from generate_series(1, ${count}) n`
    const result = await reading({ ...usual, columns: ["n"], query }, async (rows) => ({
      file: await rest(rows),
      rows: rows.rows
    }))
    expect(result.rows).toBe(count)
    expect(result.file.equals(await copyOut(query))).toBe(true)
  })

  test("shows one moment, whatever is committed while it is read", async () => {
    await sql.unsafe("create table changing as select n, 'before' as state from generate_series(1, 20000) n")
    const query = "select n, state from changing"
    const before = await copyOut(query)
    const file = await reading({ ...usual, columns: ["n", "state"], query, batchSize: 10, chunkSize: 1024 }, async (rows) => {
      const first = Buffer.from((await rows.next())!)
      await sql.unsafe(
        "update changing set state = 'after'; delete from changing where n % 2 = 0; insert into changing values (0, 'new')"
      )
      return Buffer.concat([first, await rest(rows)])
    })
    expect(file.equals(before)).toBe(true)
    expect((await copyOut(query)).equals(before)).toBe(false)
  })
})

describe("memory stays far below the whole when rows are wide", () => {
  test("from the first row on", async () => {
    const { bytes, grownMB } = await measure(`select repeat('x', ${MEGABYTE}) from generate_series(1, 300)`)
    expect(bytes).toBe("wide\n".length + 300 * (MEGABYTE + 1))
    expect(grownMB).toBeLessThan(100)
  })

  test("after narrow ones", async () => {
    const length = `case when n > 2016 then ${MEGABYTE} else 1 end`
    const { bytes, grownMB } = await measure(`select repeat('x', ${length}) from generate_series(1, 2316) n`)
    expect(bytes).toBe("wide\n".length + 2016 * 2 + 300 * (MEGABYTE + 1))
    expect(grownMB).toBeLessThan(100)
  })
})
