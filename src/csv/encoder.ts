import type { Dialect } from "./dialect.ts"

/** The text of one value in UTF-8, as PostgreSQL's output function wrote it; null is SQL NULL. */
export type Cell = Buffer | null

const LF = 10
const CR = 13
const BACKSLASH_DOT = [92, 46]
/** Above this a value is searched and copied by native code; below it the call costs more than it saves. */
const LONG_CELL = 256
/** Free buffers kept for reuse: one being filled, one being written, one of slack. */
const MAX_FREE_BUFFERS = 3

/**
 * Turns rows into the bytes that `COPY … TO STDOUT (FORMAT csv)` writes for them: see CopyAttributeOutCSV in
 * PostgreSQL's src/backend/commands/copyto.c. A value is quoted when it is empty, holds the delimiter, the
 * quote, CR or LF, or is `\.` alone on its line; NULL is nothing.
 *
 * Chunks hold at most `chunkSize` bytes, but for one value that is larger alone. The receiver owns a chunk;
 * giving it back by `recycle` lets its buffer be filled again.
 */
export class CsvEncoder {
  readonly #delimiter: number
  readonly #quote: number
  readonly #singleColumn: boolean
  readonly #chunkSize: number
  /** 1 for each byte that makes a value need quotes. */
  readonly #special = new Uint8Array(256)
  readonly #free: Array<Uint8Array> = []
  #full: Array<Uint8Array> = []
  #buffer: Uint8Array
  #position = 0

  constructor(dialect: Dialect, columns: number, chunkSize: number) {
    this.#delimiter = dialect.delimiter.charCodeAt(0)
    this.#quote = dialect.quote.charCodeAt(0)
    this.#singleColumn = columns === 1
    this.#chunkSize = chunkSize
    for (const byte of [this.#delimiter, this.#quote, CR, LF]) this.#special[byte] = 1
    this.#buffer = new Uint8Array(chunkSize)
  }

  /** Encodes rows and returns the chunks that became full, in order. */
  encode(rows: ReadonlyArray<ReadonlyArray<Cell>>): Array<Uint8Array> {
    const special = this.#special
    const delimiter = this.#delimiter
    for (let r = 0; r < rows.length; r++) {
      const row = rows[r]!
      for (let c = 0; c < row.length; c++) {
        const cell = row[c]!
        const length = cell === null ? 0 : cell.length
        // Worst case: a delimiter, two quotes, each byte doubled, and the line's end.
        if (this.#position + 2 * length + 4 > this.#buffer.length) this.#spill(2 * length + 4)
        const out = this.#buffer
        let at = this.#position
        if (c > 0) out[at++] = delimiter
        if (cell !== null) {
          if (length > LONG_CELL) {
            at = this.#long(cell, at)
          } else {
            let quoted = length === 0 ? 1 : 0
            for (let i = 0; i < length; i++) {
              const byte = cell[i]!
              out[at + i] = byte
              quoted |= special[byte]!
            }
            if (quoted || (this.#singleColumn && length === 2 && cell[0] === BACKSLASH_DOT[0] && cell[1] === BACKSLASH_DOT[1])) {
              at = this.#quoted(cell, at)
            } else {
              at += length
            }
          }
        }
        this.#position = at
      }
      if (this.#position === this.#buffer.length) this.#spill(1)
      this.#buffer[this.#position++] = LF
    }
    return this.#take()
  }

  /** The header line: the columns' names, under the rules of the values. */
  header(names: ReadonlyArray<string>): Array<Uint8Array> {
    return this.encode([names.map((name) => Buffer.from(name))])
  }

  /** What is left in the buffer, full or not. */
  flush(): Array<Uint8Array> {
    if (this.#position > 0) this.#spill(0)
    return this.#take()
  }

  /** Gives a chunk's buffer back, once nobody reads it any more. */
  recycle(chunk: Uint8Array): void {
    if (chunk.buffer.byteLength === this.#chunkSize && this.#free.length < MAX_FREE_BUFFERS) {
      this.#free.push(new Uint8Array(chunk.buffer as ArrayBuffer))
    }
  }

  #take(): Array<Uint8Array> {
    const full = this.#full
    this.#full = []
    return full
  }

  /** Closes the current chunk and opens one with room for at least `bytes`. */
  #spill(bytes: number): void {
    if (this.#position > 0) this.#full.push(this.#buffer.subarray(0, this.#position))
    this.#position = 0
    this.#buffer = bytes > this.#chunkSize ? new Uint8Array(bytes) : (this.#free.pop() ?? new Uint8Array(this.#chunkSize))
  }

  #long(cell: Buffer, at: number): number {
    if (cell.includes(this.#quote) || cell.includes(this.#delimiter) || cell.includes(LF) || cell.includes(CR)) {
      return this.#quoted(cell, at)
    }
    this.#buffer.set(cell, at)
    return at + cell.length
  }

  #quoted(cell: Buffer, start: number): number {
    const out = this.#buffer
    const quote = this.#quote
    let at = start
    out[at++] = quote
    for (let i = 0; i < cell.length; i++) {
      const byte = cell[i]!
      if (byte === quote) out[at++] = quote
      out[at++] = byte
    }
    out[at++] = quote
    return at
  }
}
