import type { Dialect } from "./dialect.ts"

const LF = 10
const CR = 13
const BACKSLASH = 92
const DOT = 46
/** The length of a value that is SQL NULL. */
const NULL = -1
/** Above this a value is searched and copied by native code; below it the call costs more than it saves. */
const LONG_VALUE = 256
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
  readonly #chunkSize: number
  /** Above this many bytes a value is long; one that might not fit into a chunk always is. */
  readonly #longValue: number
  /** 1 for each byte that makes a value need quotes. */
  readonly #special = new Uint8Array(256)
  readonly #free: Array<Uint8Array> = []
  readonly #full: Array<Uint8Array> = []
  #fullBytes = 0
  #buffer: Uint8Array
  #position = 0

  constructor(dialect: Dialect, chunkSize: number) {
    this.#delimiter = dialect.delimiter.charCodeAt(0)
    this.#quote = dialect.quote.charCodeAt(0)
    this.#chunkSize = chunkSize
    this.#longValue = Math.min(LONG_VALUE, (chunkSize - 4) / 2)
    for (const byte of [this.#delimiter, this.#quote, CR, LF]) this.#special[byte] = 1
    this.#buffer = new Uint8Array(chunkSize)
  }

  /** Bytes of the chunks that `shift` would give. */
  get fullBytes(): number {
    return this.#fullBytes
  }

  /** Encodes one row as PostgreSQL's DataRow message has it from `start` on: a count, then each value's length and text. */
  row(bytes: Buffer, start: number): void {
    const special = this.#special
    const columns = bytes.readUInt16BE(start)
    let from = start + 2
    for (let column = 0; column < columns; column++) {
      const length = bytes.readInt32BE(from)
      from += 4
      const size = length === NULL ? 0 : length
      // Worst case: a delimiter, two quotes, each byte doubled, and the line's end.
      if (this.#position + 2 * size + 4 > this.#buffer.length) this.#spill(2 * size + 4)
      const out = this.#buffer
      if (column > 0) out[this.#position++] = this.#delimiter
      if (length === NULL) continue
      const at = this.#position
      const end = from + size
      if (size > this.#longValue) {
        this.#long(bytes.subarray(from, end))
      } else {
        let quoted = size === 0 ? 1 : 0
        for (let i = from, to = at; i < end; i++, to++) {
          const byte = bytes[i]!
          out[to] = byte
          quoted |= special[byte]!
        }
        if (quoted || (columns === 1 && size === 2 && bytes[from] === BACKSLASH && bytes[from + 1] === DOT)) {
          this.#quoted(bytes.subarray(from, end))
        } else {
          this.#position = at + size
        }
      }
      from = end
    }
    if (this.#position === this.#buffer.length) this.#spill(1)
    this.#buffer[this.#position++] = LF
  }

  /** The header line: the columns' names, under the rules of the values. */
  header(names: ReadonlyArray<string>): void {
    const values = names.map((name) => Buffer.from(name))
    const lengths = values.map(({ length }) => Buffer.of(length >>> 24, length >>> 16, length >>> 8, length))
    this.row(
      Buffer.concat([Buffer.of(names.length >>> 8, names.length), ...values.flatMap((value, i) => [lengths[i]!, value])]),
      0
    )
  }

  /** The oldest chunk that is full, if there is one. */
  shift(): Uint8Array | undefined {
    const chunk = this.#full.shift()
    if (chunk) this.#fullBytes -= chunk.length
    return chunk
  }

  /** Makes a chunk of what is left in the buffer. */
  flush(): void {
    if (this.#position > 0) this.#spill(0)
  }

  /** Gives a chunk's buffer back, once nobody reads it any more. */
  recycle(chunk: Uint8Array): void {
    if (chunk.buffer.byteLength === this.#chunkSize && this.#free.length < MAX_FREE_BUFFERS) {
      this.#free.push(new Uint8Array(chunk.buffer as ArrayBuffer))
    }
  }

  /** Closes the current chunk and opens one with room for at least `bytes`. */
  #spill(bytes: number): void {
    if (this.#position > 0) {
      this.#full.push(this.#buffer.subarray(0, this.#position))
      this.#fullBytes += this.#position
    }
    this.#position = 0
    this.#buffer = bytes > this.#chunkSize ? new Uint8Array(bytes) : (this.#free.pop() ?? new Uint8Array(this.#chunkSize))
  }

  #long(value: Buffer): void {
    if (value.includes(this.#quote) || value.includes(this.#delimiter) || value.includes(LF) || value.includes(CR)) {
      this.#quoted(value)
    } else {
      this.#buffer.set(value, this.#position)
      this.#position += value.length
    }
    // A buffer made for one large value holds nothing else.
    if (this.#buffer.length > this.#chunkSize) this.#spill(0)
  }

  #quoted(value: Buffer): void {
    const out = this.#buffer
    const quote = this.#quote
    let at = this.#position
    out[at++] = quote
    for (let i = 0; i < value.length; i++) {
      const byte = value[i]!
      if (byte === quote) out[at++] = quote
      out[at++] = byte
    }
    out[at++] = quote
    this.#position = at
  }
}
