import type { ChunkWriter } from "../chunk-writer.ts"
import type { Dialect } from "./dialect.ts"

const LF = 10
const CR = 13
const BACKSLASH = 92
const DOT = 46
/** Marks SQL NULL where the length of a value stands. */
const NULL = -1
/** Above this a value is searched and copied by native code; below it the call costs more than it saves. */
const LONG_VALUE = 256

/**
 * Turns rows into the bytes that `COPY … TO STDOUT (FORMAT csv)` writes for them: see CopyAttributeOutCSV in
 * PostgreSQL's src/backend/commands/copyto.c. A value is quoted when it holds the delimiter, the quote, CR or LF, is
 * equal to what stands for NULL, or is `\.` alone on its line.
 *
 * A chunk holds no more than the pool's size, but for one value that is larger alone.
 */
export class CsvEncoder {
  readonly #delimiter: number
  readonly #quote: number
  readonly #null: Buffer
  readonly #crlf: boolean
  /** Columns whose values always stand in quotes. */
  readonly #forced: ReadonlyArray<boolean>
  readonly #forceAll: boolean
  readonly #quoteHeader: boolean
  readonly #chunks: ChunkWriter
  /** Bytes that a row may need beside twice the size of its values. */
  readonly #slack: number
  /** Above this many bytes a value is long; one that might not fit into a chunk always is. */
  readonly #longValue: number
  /** 1 for each byte that makes a value need quotes. */
  readonly #special = new Uint8Array(256)

  /** `isTextColumn` says which columns are text: those that `quoting: "text"` quotes. */
  constructor(dialect: Dialect, chunks: ChunkWriter, isTextColumn: ReadonlyArray<boolean> = []) {
    this.#delimiter = dialect.delimiter.charCodeAt(0)
    this.#quote = dialect.quote.charCodeAt(0)
    this.#null = Buffer.from(dialect.null)
    this.#crlf = dialect.newline === "crlf"
    this.#forceAll = dialect.quoting === "all"
    this.#quoteHeader = dialect.quoting !== "minimal"
    this.#forced = dialect.quoting === "text" ? isTextColumn : []
    this.#chunks = chunks
    this.#slack = 5 + this.#null.length
    this.#longValue = Math.min(LONG_VALUE, (chunks.pool.bufferBytes - this.#slack) / 2)
    for (const byte of [this.#delimiter, this.#quote, CR, LF]) this.#special[byte] = 1
  }

  /** Encodes one row as PostgreSQL's DataRow message has it from `start` on: a count, then each value's length and text. */
  row(bytes: Buffer, start: number): void {
    this.#row(bytes, start, this.#forceAll)
  }

  #row(bytes: Buffer, start: number, forceAll: boolean): void {
    const special = this.#special
    const chunks = this.#chunks
    const columns = bytes.readUInt16BE(start)
    let from = start + 2
    for (let column = 0; column < columns; column++) {
      const length = bytes.readInt32BE(from)
      from += 4
      const size = length === NULL ? 0 : length
      // Worst case: a delimiter, two quotes, each byte doubled, and the line's end.
      if (chunks.position + 2 * size + this.#slack > chunks.buffer.length) chunks.reserve(2 * size + this.#slack)
      const out = chunks.buffer
      if (column > 0) out[chunks.position++] = this.#delimiter
      if (length === NULL) {
        chunks.position += this.#null.copy(out, chunks.position)
        continue
      }
      const force = forceAll || this.#forced[column] === true
      const at = chunks.position
      const end = from + size
      if (size > this.#longValue) {
        this.#long(bytes.subarray(from, end), force)
      } else {
        let quoted = force || this.#isNull(bytes, from, end) ? 1 : 0
        for (let i = from, to = at; i < end; i++, to++) {
          const byte = bytes[i]!
          out[to] = byte
          quoted |= special[byte]!
        }
        if (quoted || (columns === 1 && size === 2 && bytes[from] === BACKSLASH && bytes[from + 1] === DOT)) {
          this.#quoted(bytes.subarray(from, end))
        } else {
          chunks.position = at + size
        }
      }
      from = end
    }
    if (chunks.position + 2 > chunks.buffer.length) chunks.reserve(2)
    if (this.#crlf) chunks.buffer[chunks.position++] = CR
    chunks.buffer[chunks.position++] = LF
  }

  /** Writes the header line: the names of the columns, by the rules of text values. */
  header(names: ReadonlyArray<string | Buffer>): void {
    const values = names.map((name) => (typeof name === "string" ? Buffer.from(name) : name))
    const lengths = values.map(({ length }) => Buffer.of(length >>> 24, length >>> 16, length >>> 8, length))
    this.#row(
      Buffer.concat([Buffer.of(names.length >>> 8, names.length), ...values.flatMap((value, i) => [lengths[i]!, value])]),
      0,
      this.#quoteHeader
    )
  }

  /** Says whether a value would be taken for NULL. */
  #isNull(bytes: Buffer, from: number, end: number): boolean {
    const nothing = this.#null
    return end - from === nothing.length && nothing.compare(bytes, from, end) === 0
  }

  #long(value: Buffer, force: boolean): void {
    const chunks = this.#chunks
    if (
      force ||
      this.#isNull(value, 0, value.length) ||
      value.includes(this.#quote) ||
      value.includes(this.#delimiter) ||
      value.includes(LF) ||
      value.includes(CR)
    ) {
      this.#quoted(value)
    } else {
      value.copy(chunks.buffer, chunks.position)
      chunks.position += value.length
    }
    // A buffer made for one large value holds nothing else.
    if (chunks.buffer.length > chunks.pool.bufferBytes) chunks.flush()
  }

  #quoted(value: Buffer): void {
    const out = this.#chunks.buffer
    const quote = this.#quote
    let at = this.#chunks.position
    out[at++] = quote
    for (let i = 0; i < value.length; i++) {
      const byte = value[i]!
      if (byte === quote) out[at++] = quote
      out[at++] = byte
    }
    out[at++] = quote
    this.#chunks.position = at
  }
}
