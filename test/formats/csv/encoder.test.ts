/**
 * CsvEncoder against a naive writer on strings and against csv-parse. `rows/cursor-source.test.ts` compares it with
 * COPY itself; here are the many cases that would take a database too long.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import { defaultDialect, type Dialect } from "../../../src/formats/csv/dialect.ts"
import { BufferPool, ChunkWriter } from "../../../src/formats/chunk-writer.ts"
import { CsvEncoder } from "../../../src/formats/csv/encoder.ts"
import { awkward, dialects, parseCsv } from "./csv-arbitraries.ts"

setDefaultTimeout(30_000)

type Value = string | null
type Row = ReadonlyArray<Value>

/** A row as PostgreSQL's DataRow has it, at some place in a buffer: its columns, then each value's length and text. */
const dataRow = (row: Row, place = 0): Buffer => {
  const parts = row.map((value) => {
    const text = Buffer.from(value ?? "")
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : text.length)
    return Buffer.concat([length, text])
  })
  return Buffer.concat([Buffer.alloc(place, "?"), Buffer.of(0, row.length), ...parts])
}
const encodeRow = (encoder: CsvEncoder, row: Row, place = 0) => {
  const bytes = dataRow(row, place)
  encoder.row(bytes, place)
  // They are the socket's: nobody may read them later.
  bytes.fill(0xa5)
}

const isText = (column: number) => column % 2 === 1

/** What stands in the file for each value, its delimiter or line end included: COPY's rules, on strings. */
const naivePieces = (rows: ReadonlyArray<Row>, { delimiter, quote, quoting, newline, ...dialect }: Dialect): Array<string> =>
  rows.flatMap((row, line) =>
    row.map((value, column) => {
      const special = [delimiter, quote, "\n", "\r"].some((character) => value?.includes(character))
      const forced = quoting === "all" || (quoting === "text" && (line === 0 || isText(column)))
      const quoted = forced || value === dialect.null || special || (row.length === 1 && value === "\\.")
      const text = value === null ? dialect.null : quoted ? quote + value.split(quote).join(quote + quote) + quote : value
      return (column > 0 ? delimiter : "") + text + (column === row.length - 1 ? (newline === "crlf" ? "\r\n" : "\n") : "")
    })
  )

interface Consumer {
  readonly chunkSize: number
  /** Rows of each batch, again and again. */
  readonly batches: ReadonlyArray<number>
  /** ChunkWriter that the consumer still holds when it gets the next one. */
  readonly held: number
}

/** The chunks of header and rows, as a consumer sees them that reads late, recycles each, and spoils it before. */
const chunksOf = ([header, ...rows]: ReadonlyArray<Row>, dialect: Dialect, { chunkSize, batches, held }: Consumer) => {
  const chunks = new ChunkWriter(new BufferPool(chunkSize))
  const encoder = new CsvEncoder(
    dialect,
    chunks,
    header!.map((_, column) => isText(column))
  )
  const taken: Array<Buffer> = []
  const waiting: Array<Uint8Array> = []
  const consume = (keep: number) => {
    const before = chunks.fullBytes
    let bytes = 0
    for (let chunk; (chunk = chunks.shift()); bytes += chunk.length) waiting.push(chunk)
    expect({ bytes, left: chunks.fullBytes }).toEqual({ bytes: before, left: 0 })
    while (waiting.length > keep) {
      const chunk = waiting.shift()!
      taken.push(Buffer.from(chunk))
      new Uint8Array(chunk.buffer).fill(0xa5)
      chunks.pool.recycle(chunk)
    }
  }
  encoder.header(header!.map(String))
  for (let at = 0, turn = 0; at < rows.length; turn++) {
    const size = batches[turn % batches.length]!
    for (const row of rows.slice(at, at + size)) encodeRow(encoder, row, turn)
    consume(held)
    at += size
  }
  chunks.flush()
  consume(0)
  return taken
}

/** ChunkWriter above the bound, save those that lie within one value with its delimiter and line end. */
const oversized = (chunks: ReadonlyArray<Buffer>, pieces: ReadonlyArray<string>, chunkSize: number) => {
  const ends = new Map<number, number>()
  let offset = 0
  for (const piece of pieces) ends.set(offset, (offset += Buffer.byteLength(piece)))
  offset = 0
  return chunks
    .map(({ length }) => ({ start: offset, end: (offset += length), chunkSize }))
    .filter(({ start, end }) => end - start > chunkSize && !(end <= (ends.get(start) ?? 0)))
}

const values = (dialect: Dialect, chunkSize: number): fc.Arbitrary<Value> => {
  const piece = fc.constantFrom("a", ...awkward(dialect))
  const short = fc.array(fc.oneof(piece, fc.string({ unit: "grapheme" })), { maxLength: 6 })
  const text = short.map((parts) => parts.join(""))
  /** Plain, or with one awkward character anywhere, about as long as the bounds where the encoder changes its way. */
  const long = fc
    .tuple(
      fc.constantFrom(64, 128, 256, chunkSize / 2, chunkSize, 2 * chunkSize),
      fc.nat(8),
      fc.constantFrom("", ...awkward(dialect)),
      fc.nat()
    )
    .map(([about, more, character, place]) => {
      const plain = "x".repeat(Math.max(0, Math.floor(about) - 4 + more))
      const at = place % (plain.length + 1)
      return plain.slice(0, at) + character + plain.slice(at)
    })
  const whole = long.map((value) => dialect.quote.repeat(value.length % 700))
  return fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(null, "", "\\.", dialect.quote, dialect.delimiter, "\n", "\r", "\0") },
    { weight: 6, arbitrary: text },
    { weight: 2, arbitrary: long },
    { weight: 1, arbitrary: whole }
  )
}

const files = fc
  .record({
    dialect: dialects,
    columns: fc.integer({ min: 1, max: 6 }),
    rows: fc.nat(60),
    chunkSize: fc.oneof(fc.integer({ min: 16, max: 600 }), fc.constantFrom(256, 1024, 4096, 65_536)),
    batches: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 }),
    held: fc.nat(5)
  })
  .chain(({ columns, rows, ...shape }) => {
    const row = fc.array(values(shape.dialect, shape.chunkSize), { minLength: columns, maxLength: columns })
    const header = fc.array(fc.string({ minLength: 1, maxLength: 8 }), { minLength: columns, maxLength: columns })
    const body = fc.array(row, { minLength: rows, maxLength: rows })
    return fc.tuple(header, body).map(([first, rest]) => ({ ...shape, table: [first, ...rest] as Array<Row> }))
  })

const lines = (rows: ReadonlyArray<Row>, dialect = defaultDialect) =>
  Buffer.concat(chunksOf([["h", "i"].slice(0, rows[0]!.length), ...rows], dialect, { chunkSize: 1024, batches: [1], held: 0 }))
    .toString()
    .replace(/^h.*\n/, "")

const besideB = (value: string) => lines([[value, "b"]])

const encoding = () => {
  const chunks = new ChunkWriter(new BufferPool(1024))
  return { chunks, encoder: new CsvEncoder(defaultDialect, chunks) }
}

/** The one chunk of a row with one value of `length` bytes. */
const encodeOne = ({ encoder, chunks }: ReturnType<typeof encoding>, length: number): Uint8Array => {
  encodeRow(encoder, ["x".repeat(length)])
  chunks.flush()
  return chunks.shift()!
}

describe("any rows in any dialect, batches and chunks", () => {
  test("are what a naive writer makes of them, and parse back to the same values", () => {
    fc.assert(
      fc.property(files, ({ table, dialect, ...consumer }) => {
        const file = Buffer.concat(chunksOf(table, dialect, consumer))
        expect(file.toString()).toBe(naivePieces(table, dialect).join(""))
        expect(parseCsv(file, dialect)).toEqual(table.map((row) => [...row]))
      }),
      { numRuns: 400 }
    )
  })

  test("come in chunks within the bound, save one that is a single larger value", () => {
    fc.assert(
      fc.property(files, ({ table, dialect, ...consumer }) => {
        const chunks = chunksOf(table, dialect, consumer)
        expect(oversized(chunks, naivePieces(table, dialect), consumer.chunkSize)).toEqual([])
        expect(chunks.filter(({ length }) => length === 0)).toEqual([])
      }),
      { numRuns: 400 }
    )
  })
})

describe("a value", () => {
  test("is nothing when it is null, and two quotes when it is empty", () => {
    expect(lines([[null, ""]])).toBe(',""\n')
    expect(lines([[null], [""]])).toBe('\n""\n')
  })

  test("is quoted for a delimiter, a quote, LF or CR, even a lone one, and for nothing else", () => {
    expect(["a,", '"', "a\nb", "a\rb", "\r\n"].map(besideB)).toEqual([
      '"a,",b\n',
      '"""",b\n',
      '"a\nb",b\n',
      '"a\rb",b\n',
      '"\r\n",b\n'
    ])
    for (const plain of [" a ", "'", ";", "\t", "\\", "é", "=1+1", "-1", "#", "null", "\ufeff"])
      expect(besideB(plain)).toBe(`${plain},b\n`)
  })

  test("that is \\. is quoted when it is alone on its line", () => {
    expect(lines([["\\."]])).toBe('"\\."\n')
    expect(lines([["\\.", "\\."]])).toBe("\\.,\\.\n")
    expect(lines([["\\.."], [".\\"]])).toBe("\\..\n.\\\n")
  })

  test("is quoted by the characters of the dialect alone", () => {
    expect(
      lines(
        [
          ["a,b", 'c"d'],
          ["e;f", "g'h"]
        ],
        { ...defaultDialect, delimiter: ";", quote: "'" }
      )
    ).toBe("a,b;c\"d\n'e;f';'g''h'\n")
  })
})

describe("a recycled buffer", () => {
  test("is filled again; one that held a larger value is let go", () => {
    const one = encoding()
    const first = encodeOne(one, 100)
    const large = encodeOne(one, 5000)
    // The line end after a value that fills its chunk.
    one.chunks.flush()
    while (one.chunks.shift());
    one.chunks.pool.recycle(first)
    one.chunks.pool.recycle(large)
    const later = Array.from({ length: 8 }, () => encodeOne(one, 100).buffer)
    expect(later).toContain(first.buffer)
    expect(later).not.toContain(large.buffer)
  })

  test("is one of a few: the rest go to the garbage collector", () => {
    const one = encoding()
    const many = Array.from({ length: 50 }, () => encodeOne(one, 100))
    for (const chunk of many) one.chunks.pool.recycle(chunk)
    const before = new Set(many.map(({ buffer }) => buffer))
    const reused = Array.from({ length: 50 }, () => encodeOne(one, 100)).filter(({ buffer }) => before.has(buffer))
    expect(reused.length).toBeLessThanOrEqual(3)
  })
})
