import { limits } from "../../limits.ts"
import { BufferPool, ChunkWriter } from "../../formats/chunk-writer.ts"
import { beginFile, type ExportBytes, type CsvLayout } from "../export-bytes.ts"
import { PartBuffer, Reader, type CopyInFlight } from "./part-buffer.ts"
import type { SourceSession } from "../../source/session.ts"
import { toSourceError, type SourceError } from "../../source/source-error.ts"

/**
 * Reads the parts of an export by COPY and hands their bytes on in order. The lead, whose snapshot it is, reads from
 * the beginning to the end; helpers, connections in the same snapshot, may come and go.
 *
 * What waits to be taken is bounded: `readAheadBytes` of the part whose turn it is, and `extraReaderBytes` a helper in
 * all; a reader beyond that is held up, and one read of each socket may exceed it. A part that its reader gave up is
 * read by the next one that is free. Where that can only be the lead, and the lead is held up on a later part, it
 * skips that: so the file goes on whatever happens to helpers.
 */
export class CopyBytes implements ExportBytes {
  readonly estimatedRows: number
  readonly #statements: Iterator<string>
  readonly #pool: BufferPool
  readonly #header: ChunkWriter
  readonly #crlf: boolean
  /** Nothing was handed on yet. */
  #atStart = true
  readonly #lead: Reader
  /** Parts begun, in the order of the file. */
  readonly #open: Array<PartBuffer> = []
  #helpers = 0
  /** Every part is begun. */
  #exhausted = false
  #leadDone = false
  #handedRows = 0
  #failure: SourceError | undefined
  #committed = false
  /** Readers, and `next`, that wait for something to change. */
  #waiting: Array<() => void> = []

  /** `statements` are the parts' COPY statements; `lookAheadBytes` is what all its helpers together may let wait. */
  constructor(
    lead: SourceSession,
    shape: CsvLayout,
    statements: Iterator<string>,
    estimatedRows: number,
    chunkSize: number,
    lookAheadBytes: number
  ) {
    this.estimatedRows = estimatedRows
    this.#statements = statements
    this.#pool = new BufferPool(chunkSize, lookAheadBytes)
    this.#header = new ChunkWriter(this.#pool)
    beginFile(shape, this.#header)
    this.#header.flush()
    this.#crlf = shape.dialect.newline === "crlf"
    this.#lead = new Reader(lead)
    this.#readParts(this.#lead).catch((cause: unknown) => this.fail(toSourceError(cause)))
  }

  get rows(): number {
    return this.#open.reduce((sum, part) => sum + part.rows, this.#handedRows)
  }

  /** No part is left to begin. */
  get allPartsBegun(): boolean {
    return this.#exhausted || this.#failure !== undefined
  }

  /** Bytes that wait to be taken. */
  get waitingBytes(): number {
    return this.#open.reduce((sum, { chunks }) => sum + chunks.fullBytes, 0)
  }

  /** Nothing can be handed on before the reader brings more. */
  waitsFor(reader: Reader): boolean {
    const [head] = this.#open
    return head?.reader === reader && head.chunks.fullBytes === 0
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#failure) throw this.#failure
      const chunk = this.#shift()
      if (chunk) return chunk
      if (this.#open.length > 0 || !this.#exhausted) {
        await this.#change()
        continue
      }
      if (!this.#committed) await this.#lead.connection.commit()
      this.#committed = true
      return this.#header.shift()
    }
  }

  #shift(): Uint8Array | undefined {
    for (let part; (part = this.#open[0]);) {
      if (part.chunks.fullBytes > 0) {
        const chunk = this.#header.shift() ?? part.shift()
        this.#atStart = false
        this.#changed()
        return chunk
      }
      if (!part.whole) return undefined
      this.#open.shift()
      this.#handedRows += part.rows
      this.#changed()
    }
    return undefined
  }

  recycle(chunk: Uint8Array): void {
    this.#pool.recycle(chunk)
  }

  /** Makes `next` reject. */
  fail(error: SourceError): void {
    this.#failure ??= error
    this.#changed()
  }

  /** Reads parts on another connection of the same snapshot, until none is left to begin or it is wanted elsewhere. */
  async help(reader: Reader): Promise<void> {
    this.#helpers++
    try {
      await this.#readParts(reader)
    } finally {
      this.#helpers--
      this.#changed()
    }
  }

  /** Ends a helper's work, and drops what has come out of turn: its memory is given back. */
  dismiss(helper: Reader): void {
    if (this.#leadDone) return
    helper.dismissed = true
    helper.connection.destroy()
    for (const part of this.#open.slice(1)) if (part.whole) part.reset()
    this.#changed()
  }

  async #readParts(reader: Reader): Promise<void> {
    try {
      for (let reading; (reading = reader.next ?? (await this.#first(reader)));) {
        const { part, done } = reading
        reader.now = reading
        reader.next = undefined
        this.#changed()
        await done
        reader.now = undefined
        if (part.whole) reader.lastPartRows = part.rows
        this.#leave(reader, part)
      }
    } finally {
      const { now, next } = reader
      reader.now = reader.next = undefined
      for (const reading of [now, next]) if (reading) this.#leave(reader, reading.part)
    }
  }

  /** The reader is done with the part. One that is not whole will be read again. */
  #leave(reader: Reader, part: PartBuffer): void {
    // The last read may have brought the end of the part and more than there is room for.
    reader.held = false
    part.reader = undefined
    if (!part.whole) part.reset()
    this.#changed()
  }

  /** The next part to read, if there is one: one that was left, or a new one as soon as there is room for what comes of it. */
  async #first(reader: Reader): Promise<CopyInFlight | undefined> {
    for (;;) {
      if (this.#failure || reader.dismissed) return undefined
      // Found and taken in one step: other readers were woken, too.
      const left = this.#open.find(({ unread }) => unread)
      if (left) return this.#ask(reader, left)
      if (reader.wanted()) return undefined
      if (this.#mayBegin()) {
        const part = this.#begin()
        if (part) return this.#ask(reader, part)
        continue
      }
      // The lead stays until no helper can leave it anything to read.
      const isLead = reader === this.#lead
      if (this.#exhausted && (!isLead || this.#open.every(({ whole }) => whole))) {
        this.#leadDone ||= isLead
        return undefined
      }
      reader.held = true
      await this.#change()
      reader.held = false
    }
  }

  /** Asks for a further part before the one that is coming has ended: the server would wait for us otherwise. */
  #follow(reader: Reader): void {
    const { now, next } = reader
    if (next || !now || now.part.rows < reader.lastPartRows * limits.pipelineShare) return
    if (this.#failure || reader.wanted() || !this.#mayBegin() || this.#open.some(({ unread }) => unread)) return
    const part = this.#begin()
    if (part) reader.next = this.#ask(reader, part)
  }

  #begin(): PartBuffer | undefined {
    const { value, done } = this.#statements.next()
    if (done) {
      this.#exhausted = true
      this.#changed()
      return undefined
    }
    const part = new PartBuffer(value, this.#pool, this.#crlf)
    this.#open.push(part)
    return part
  }

  #ask(reader: Reader, part: PartBuffer): CopyInFlight {
    part.reader = reader
    const done = part.read(reader.connection, () => this.#arrived(reader))
    // Whoever waits for it hears of its failure.
    done.catch(() => {})
    return { part, done }
  }

  /** Whether there is a further part, and room for what comes of it. */
  #mayBegin(): boolean {
    return !this.#exhausted && (this.#open.length === 0 || (this.#open.length < limits.openParts && !this.#isFull()))
  }

  #isFull(): boolean {
    return this.waitingBytes >= Math.max(limits.readAheadBytes, this.#helpers * limits.extraReaderBytes)
  }

  /** After each read of a socket. */
  #arrived(reader: Reader): void {
    reader.arrivals++
    const [head] = this.#open
    // The rows that came first go out at once: a sparse filter may need long for the next.
    if (this.#atStart) head?.chunks.flush()
    this.#follow(reader)
    this.#changed()
  }

  /** Pauses and resumes the readers as what waits demands, and wakes who waits. */
  #changed(): void {
    const full = this.#isFull()
    let left = false
    for (const [place, part] of this.#open.entries()) {
      const { reader, chunks, unread } = part
      left ||= unread
      if (reader?.now?.part !== part) continue
      const held = place === 0 ? chunks.fullBytes >= limits.readAheadBytes : full
      // Its turn comes after a part that only it may be there to read: it runs through the rest of its own.
      const skipped = held && left && reader === this.#lead
      if (skipped) part.reset()
      reader.held = held && !skipped
    }
    const woken = this.#waiting
    if (woken.length === 0) return
    this.#waiting = []
    for (const wake of woken) wake()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}
