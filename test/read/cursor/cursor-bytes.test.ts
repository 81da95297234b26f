/** CursorBytes on a real PostgreSQL: its bytes are those of COPY, by which the contract defines an export. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as fc from "fast-check"
import { defaultDialect, type Dialect } from "../../../src/formats/csv/dialect.ts"
import { CursorBytes } from "../../../src/read/cursor/cursor-bytes.ts"
import { dialects, parseCsv } from "../../formats/csv/csv-arbitraries.ts"
import { statement, useSource } from "../reading.fixture.ts"
import {
  copyOptions,
  copyOut,
  createEveryType,
  createTextTable,
  measure,
  MEGABYTE,
  property,
  rest,
  rowsOfTable,
  layoutOf,
  sizes,
  tables
} from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { url, sql, open } = useSource()

interface Reading extends Dialect {
  readonly columns: ReadonlyArray<string>
  readonly query: string
  readonly batchSize: number
  readonly chunkSize: number
  readonly atOnce?: number
}
const usual = { ...defaultDialect, batchSize: 1000, chunkSize: 65_536 }

/** Opens the query, lets `work` read it, and closes it. */
const reading = async <A>(
  { query, batchSize, chunkSize, columns, ...dialect }: Reading,
  work: (rows: CursorBytes) => Promise<A>
): Promise<A> => {
  await using session = await open()
  const plan = { statement: statement(query), estimatedRows: 0 }
  return await work(new CursorBytes(session.connection, layoutOf(columns, dialect), plan, batchSize, chunkSize))
}
const wholeFile = (what: Reading) => reading(what, (rows) => rest(rows, what))

/** Loads the file into a table like that of the query, and counts the rows that differ. */
const lostByLoading = async (file: Buffer, query: string, dialect: Dialect): Promise<number> => {
  await sql().unsafe(`drop table if exists loaded; create unlogged table loaded as ${query} limit 0`)
  const copy = await sql()
    .unsafe(`copy loaded from stdin (${copyOptions(dialect)}, header match)`)
    .writable()
  await pipeline(Readable.from([file]), copy)
  const [result] = await sql().unsafe<[{ lost: number }]>(
    `with a as (select t::text from (${query}) t), b as (select t::text from loaded t)
     select count(*)::int as lost from ((table a except all table b) union all (table b except all table a)) difference`
  )
  return result.lost
}

describe("the file", () => {
  test("of any text is that of COPY byte for byte, is parsed to the values of the source, and can be loaded without loss", async () => {
    await fc.assert(
      fc.asyncProperty(tables, sizes, async (table, size) => {
        const { dialect, columns } = table
        const source = rowsOfTable(table)
        // A heap may put a row before earlier ones where there is room.
        const query = `${await createTextTable(sql(), table, source)} order by "row number"`
        const file = await wholeFile({ ...dialect, ...size, columns, query })
        expect(file.equals(await copyOut(url(), query, dialect))).toBe(true)
        expect(Bun.deepEquals(parseCsv(file, dialect), [columns, ...source])).toBe(true)
        expect(await lostByLoading(file, query, dialect)).toBe(0)
      }),
      { ...property, numRuns: Number(process.env["FILE_RUNS"] ?? 10) }
    )
  })

  test("of every type is that of COPY byte for byte, and can be loaded without loss", async () => {
    const { columns, query } = await createEveryType(sql())
    await fc.assert(
      fc.asyncProperty(dialects, fc.integer({ min: 50, max: 1000 }), async (dialect, batchSize) => {
        const file = await wholeFile({ ...usual, ...dialect, columns, query, batchSize })
        expect(file.equals(await copyOut(url(), query, dialect))).toBe(true)
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
    expect(result.file.equals(await copyOut(url(), query))).toBe(true)
  })

  test("shows one moment, whatever is committed while it is read", async () => {
    await sql().unsafe("create table changing as select n, 'before' as state from generate_series(1, 20000) n")
    const query = "select n, state from changing"
    const before = await copyOut(url(), query)
    const file = await reading({ ...usual, columns: ["n", "state"], query, batchSize: 10, chunkSize: 1024 }, async (rows) => {
      const first = Buffer.from((await rows.next())!)
      await sql().unsafe(
        "update changing set state = 'after'; delete from changing where n % 2 = 0; insert into changing values (0, 'new')"
      )
      return Buffer.concat([first, await rest(rows)])
    })
    expect(file.equals(before)).toBe(true)
    expect((await copyOut(url(), query)).equals(before)).toBe(false)
  })
})

describe("memory stays far below the size of the file when rows are wide", () => {
  test("from the first row on", async () => {
    const { bytes, grownMB } = await measure(url(), "cursor", `select repeat('x', ${MEGABYTE}) from generate_series(1, 300)`)
    expect(bytes).toBe("wide\n".length + 300 * (MEGABYTE + 1))
    expect(grownMB).toBeLessThan(100)
  })

  test("after narrow rows", async () => {
    const length = `case when n > 2016 then ${MEGABYTE} else 1 end`
    const { bytes, grownMB } = await measure(url(), "cursor", `select repeat('x', ${length}) from generate_series(1, 2316) n`)
    expect(bytes).toBe("wide\n".length + 2016 * 2 + 300 * (MEGABYTE + 1))
    expect(grownMB).toBeLessThan(100)
  })
})
