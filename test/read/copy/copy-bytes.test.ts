/** CopyBytes on a real PostgreSQL: its bytes are those of CursorBytes and of COPY, however they are read. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import { limits } from "../../../src/limits.ts"
import { defaultDialect, type Dialect } from "../../../src/formats/csv/dialect.ts"
import { CopyBytes } from "../../../src/read/copy/copy-bytes.ts"
import { CursorBytes } from "../../../src/read/cursor/cursor-bytes.ts"
import { dialects } from "../../formats/csv/csv-arbitraries.ts"
import { framesThat } from "../../source/protocol/protocol-messages.ts"
import { numberedParts } from "./numbered-parts.fixture.ts"
import { copyOf, failureOf, rejection, statement, useSource } from "../reading.fixture.ts"
import {
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
  tables,
  take,
  writeOptions
} from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { url, sql, open, openLeader, relay, closeGates, openGate } = useSource()

interface Shape extends Dialect {
  readonly columns: ReadonlyArray<string>
}

/** How a table is read. */
interface Manner {
  readonly chunkSize: number
  readonly atOnce: number
  /** The pages at which it is split into parts, from none to all. */
  readonly cuts: ReadonlyArray<number>
  /** For each further reader, how many calls of `shouldYield` return false. */
  readonly readers: ReadonlyArray<number>
  /** Turns of the event loop that the consumer needs for a chunk. */
  readonly turns: number
  /** Milliseconds that the server waits before it reads each part. */
  readonly waits: ReadonlyArray<number>
}
const manners = fc.record({
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 9, size: "max" }),
  readers: fc.array(fc.oneof(fc.nat(5), fc.constant(Number.POSITIVE_INFINITY)), { maxLength: 3, size: "max" }),
  turns: fc.constantFrom(0, 0, 1, 5),
  waits: fc.array(fc.constantFrom(0, 0, 3, 10), { minLength: 10, maxLength: 10 })
})

const copyStatement = (query: string, dialect: Dialect = defaultDialect, columns: ReadonlyArray<string> = []) =>
  `copy (${query}) to stdout (${writeOptions(dialect, columns)})`

/** Returns the COPY statements of a query without conditions, one for each range of pages. */
const partStatements = async (
  query: string,
  table: string,
  { cuts, waits }: Pick<Manner, "cuts" | "waits">,
  dialect: Dialect = defaultDialect,
  columns: ReadonlyArray<string> = []
) => {
  const [size] = await sql().unsafe<[{ pages: number }]>(`select (pg_relation_size('${table}') / 8192)::int as pages`)
  const pages = cuts.map((cut) => Math.round(cut * (size.pages + 1))).toSorted((a, b) => a - b)
  return [undefined, ...pages].map((from, at) => {
    const conditions = [
      ...(from === undefined ? [] : [`ctid >= '(${from},0)'`]),
      ...(at < pages.length ? [`ctid < '(${pages[at]},0)'`] : []),
      // The server waits once in each part, before its first row.
      `(select pg_sleep(${(waits[at] ?? 0) / 1000})) is not null`
    ]
    return copyStatement(`${query} where ${conditions.join(" and ")}`, dialect, columns)
  })
}

/** Reads a table by COPY, with further readers from the beginning. */
const copied = async (
  { columns, ...dialect }: Shape,
  query: string,
  table: string,
  { chunkSize, readers, ...manner }: Manner
) => {
  const statements = await partStatements(query, table, manner, dialect, columns)
  await using leader = await openLeader()
  const reading = await Promise.all(readers.map(() => leader.reader()))
  const source = new CopyBytes(
    leader.connection,
    layoutOf(columns, dialect),
    statements.values(),
    0,
    chunkSize,
    readers.length * limits.extraReaderBytes
  )
  const ends = reading.map(({ read }, at) => {
    let looks = readers[at]!
    return read(source, () => looks-- <= 0)
  })
  const file = await rest(source, manner)
  await Promise.all(ends)
  return { file, rows: source.rows }
}

const byCursor = async ({ columns, ...dialect }: Shape, query: string, batchSize: number, chunkSize: number) => {
  await using session = await open()
  const plan = { statement: statement(query), estimatedRows: 0 }
  const source = new CursorBytes(session.connection, layoutOf(columns, dialect), plan, batchSize, chunkSize)
  return { file: await rest(source), rows: source.rows }
}

describe("the file", () => {
  test("of any text is that of a cursor and of COPY, with any parts, readers and pace", async () => {
    await fc.assert(
      fc.asyncProperty(tables, sizes, manners, async (table, { batchSize, ...size }, manner) => {
        const { dialect, columns } = table
        const shape = { ...dialect, columns }
        const query = await createTextTable(sql(), table, rowsOfTable(table))
        const { file, rows } = await copied(shape, query, "texts", { ...manner, ...size })
        const cursor = await byCursor(shape, query, batchSize, size.chunkSize)
        expect(file.equals(cursor.file)).toBe(true)
        expect(file.equals(await copyOut(url(), query, dialect))).toBe(true)
        expect([rows, cursor.rows]).toEqual([table.rows.length, table.rows.length])
      }),
      { ...property, numRuns: Number(process.env["FILE_RUNS"] ?? 12) }
    )
  })

  test("of every type is that of a cursor and of COPY", async () => {
    const { columns, query } = await createEveryType(sql())
    await fc.assert(
      fc.asyncProperty(dialects, sizes, manners, async (dialect, { batchSize, ...size }, manner) => {
        const shape = { ...dialect, columns }
        const { file, rows } = await copied(shape, query, "every_type", { ...manner, ...size })
        const cursor = await byCursor(shape, query, Math.max(50, batchSize), size.chunkSize)
        expect(file.equals(cursor.file)).toBe(true)
        expect(file.equals(await copyOut(url(), query, dialect))).toBe(true)
        expect([rows, cursor.rows]).toEqual([3005, 3005])
      }),
      { ...property, numRuns: 10 }
    )
  })

  test("shows one moment, whatever is committed while it is read, even if a further reader begins later", async () => {
    await sql().unsafe("create table changing as select n, 'before' as state from generate_series(1, 20000) n")
    const query = "select n, state from changing"
    const before = await copyOut(url(), query)
    const statements = await partStatements(query, "changing", { cuts: [0.1, 0.2, 0.3, 0.5, 0.8], waits: [] })
    await using leader = await openLeader()
    const source = new CopyBytes(leader.connection, layoutOf(["n", "state"]), statements.values(), 0, 1024, 0)
    const first = Buffer.from((await source.next())!)
    await sql().unsafe(
      "update changing set state = 'after'; delete from changing where n % 2 = 0; insert into changing values (0, 'new')"
    )
    const helped = (await leader.reader()).read(source)
    const file = Buffer.concat([first, await rest(source)])
    await helped
    expect(file.equals(before)).toBe(true)
    expect((await copyOut(url(), query)).equals(before)).toBe(false)
  })

  test("begins with the first rows while the server still looks for the next ones", async () => {
    const query = "select repeat('x', 20000) || case n when 2 then pass_gate(1) else '' end from generate_series(1, 2) n"
    await closeGates(1)
    await using session = await open()
    const source = copyOf(session.connection, copyStatement(query))
    expect((await take(source, 3)).toString("latin1", 0, 3)).toBe("n\nx")
  })

  test("has nothing of the notices that arrive between its rows", async () => {
    await sql().unsafe(`create function noisy(n int) returns text language plpgsql as
      $$ begin raise notice 'row %', n; return repeat('x', n); end $$`)
    const query = "select noisy(n) as n from generate_series(1, 2000) n"
    await using session = await open()
    expect((await rest(copyOf(session.connection, copyStatement(query)))).equals(await copyOut(url(), query))).toBe(true)
  })
})

/** A relay that swallows one row. */
const swallowing = (row: number) => {
  let seen = 0
  return relay({ change: framesThat((type) => type !== "d" || ++seen !== row) })
}

/** A further reader loses the row while an undisturbed leader waits for it. */
const lostByHelper = async (row: number, parts: ReadonlyArray<string>) => {
  const relayed = await swallowing(row)
  const leader = await openLeader()
  const extra = await leader.reader(relayed.target)
  const shape = layoutOf(["n"])
  const source = new CopyBytes(leader.connection, shape, parts.map((part) => copyStatement(part)).values(), 0, 1024, 0)
  const failed = rejection(extra.read(source))
  return { source, failed, [Symbol.asyncDispose]: () => leader.close().then(() => relayed[Symbol.dispose]()) }
}

describe("a row that is lost on the way", () => {
  const query = "select repeat('x', 100) || n as n from generate_series(1, 1000) n"
  test.each([1, 500, 1000])("is noticed when it is number %d", async (row) => {
    using relayed = await swallowing(row)
    await using session = await open(relayed.target)
    const { error } = await failureOf(copyOf(session.connection, copyStatement(query)))
    expect(error).toMatchObject({ message: "Cannot read: 999 of 1000 rows have arrived", retryable: true })
  })

  test("is read again when a further reader has lost it", async () => {
    await using lost = await lostByHelper(500, ["select '1'", query])
    expect((await lost.failed).message).toContain("999 of 1000 rows")
    const file = await rest(lost.source)
    expect(file.equals(await copyOut(url(), `select '1' as n union all (${query})`))).toBe(true)
    expect(lost.source.rows).toBe(1001)
  })

  test("is read again with all parts for which that reader had sent a COPY", async () => {
    await closeGates(1)
    await using lost = await lostByHelper(1500, ["select '1' || pass_gate(1)", query, query, query, query])
    expect((await lost.failed).message).toContain("999 of 1000 rows")
    await openGate(1)
    const file = await rest(lost.source)
    const four = Array.from({ length: 4 }, () => ` union all (${query})`).join("")
    expect(file.equals(await copyOut(url(), `select '1' as n${four}`))).toBe(true)
    expect(lost.source.rows).toBe(4001)
  })

  test("fails the file when rows after it were emitted", async () => {
    await using lost = await lostByHelper(500, ["select '1'", query.replace("1000", "200000")])
    const { error } = await failureOf(lost.source)
    expect(error.message).toContain("Rows changed while a part of the export was read again")
    expect((await lost.failed).message).toContain("199999 of 200000 rows")
  })
})

describe("a statement that fails", () => {
  test.each([
    ["for good when the table is missing", "select * from missing", "42P01", false],
    ["for good when the data does not suit", "select 1 / (5000 - n) from generate_series(1, 10000) n", "22012", false]
  ])("fails the file %s", async (_, query, code, retryable) => {
    await using session = await open()
    const source = copyOf(session.connection, copyStatement("select 1"), copyStatement(query), copyStatement("select 2"))
    const { error } = await failureOf(source)
    expect(error.retryable).toBe(retryable)
    expect(error.message).toStartWith(`Cannot read from the source database: ${code}: `)
    await rejection(source.next())
  })
})

describe("a connection that is lost", () => {
  test.each(["ended", "reset"])("and %s without a word fails the file", async (how) => {
    await closeGates(0)
    using relayed = await relay()
    await using session = await open(relayed.target)
    const source = copyOf(session.connection, ...numberedParts([{ rows: 1000, gate: 500 }]).statements)
    await take(source, 400_000)
    relayed.breakOff(how === "reset")
    expect((await failureOf(source)).error.retryable).toBe(true)
  })

  test("before the answer to commit fails the file, even if all of it was read", async () => {
    using relayed = await relay({ breakAt: "commit" })
    await using session = await open(relayed.target)
    const source = copyOf(session.connection, ...numberedParts([{ rows: 9 }]).statements)
    expect((await failureOf(source)).error.retryable).toBe(true)
    expect(source.rows).toBe(9)
  })
})

describe("memory stays far below the size of the file when rows are wide", () => {
  test.each([
    ["many", 300, MEGABYTE],
    ["one is very", 1, 100 * MEGABYTE]
  ])("%s", async (_, rows, bytes) => {
    const measured = await measure(url(), "copy", `select repeat('x', ${bytes}) from generate_series(1, ${rows})`)
    expect(measured.bytes).toBe("wide\n".length + rows * (bytes + 1))
    expect(measured.grownMB).toBeLessThan(60)
  })
})
