import { limits } from "../../limits.ts"
import { BufferPool, ChunkWriter } from "../../formats/chunk-writer.ts"
import type { SourceSession } from "../../source/session.ts"
import { toSourceError, type SourceError } from "../../source/source-error.ts"
import { beginFile, type CsvLayout, type ExportBytes } from "../export-bytes.ts"
import { PartBuffer, PartReader, type CopyInFlight } from "./parts.ts"

/**
 * Reads the parts of an export by COPY and emits their bytes in order. The leader holds the snapshot and reads from the
 * first part to the last; further readers in the same snapshot come and go.
 *
 * A part is in one of these states; `#begin`, `#send`, `#leave`, `PartBuffer.read` and `PartBuffer.reset` change it:
 *
 *     begun ──▶ unassigned ──▶ being read ──▶ complete ──▶ emitted
 *                   ▲              │             │
 *                   └── left, or dropped by the leader, or reset when a reader is stopped
 *
 * What the readers have to do follows from these rules:
 *
 * 1. A free reader takes an unassigned part first, and begins a new part when there is room for its bytes.
 * 2. The first part in the order of the file may buffer `readAheadBytes`, all parts together `extraReaderBytes` for each
 *    further reader. A reader beyond that is paused; one read of each socket may exceed it.
 * 3. The leader runs through the rest of a part without keeping it when it is paused there while an earlier part has no
 *    reader. So the file goes on whatever happens to the other readers.
 * 4. A part that was emitted in part and lost its reader is read again; the repeated bytes are left out.
 * 5. A reader sends the COPY of its next part when `pipelineShare` of the current one has arrived.
 * 6. `parallel-readers.ts` decides when a further reader comes, and when it is stopped.
 */
export class CopyBytes implements ExportBytes {
  readonly estimatedRows: number
  readonly #statements: Iterator<string>
  readonly #pool: BufferPool
  readonly #header: ChunkWriter
  readonly #crlf: boolean
  readonly #leader: PartReader
  /** Parts that are begun and not yet emitted, in the order of the file. */
  readonly #parts: Array<PartBuffer> = []
  #isFirstChunk = true
  #extraReaders = 0
  #areAllBegun = false
  #isLeaderDone = false
  #emittedRows = 0
  #failure: SourceError | undefined
  #isCommitted = false
  /** Readers, and `next`, that wait for a change. */
  #waiting: Array<() => void> = []

  /** `statements` are the COPY statements of the parts; `lookAheadBytes` is what all further readers together may buffer. */
  constructor(
    leader: SourceSession,
    layout: CsvLayout,
    statements: Iterator<string>,
    estimatedRows: number,
    chunkSize: number,
    lookAheadBytes: number
  ) {
    this.estimatedRows = estimatedRows
    this.#statements = statements
    this.#pool = new BufferPool(chunkSize, lookAheadBytes)
    this.#header = new ChunkWriter(this.#pool)
    beginFile(layout, this.#header)
    this.#header.flush()
    this.#crlf = layout.dialect.newline === "crlf"
    this.#leader = new PartReader(leader)
    this.#readParts(this.#leader).catch((cause: unknown) => this.fail(toSourceError(cause)))
  }

  get rows(): number {
    return this.#parts.reduce((sum, part) => sum + part.rows, this.#emittedRows)
  }

  /** No part is left to begin. */
  get allPartsBegun(): boolean {
    return this.#areAllBegun || this.#failure !== undefined
  }

  /** Bytes that wait to be taken. */
  get waitingBytes(): number {
    return this.#parts.reduce((sum, { chunks }) => sum + chunks.fullBytes, 0)
  }

  /** Says whether nothing can be emitted before the reader brings more. */
  waitsFor(reader: PartReader): boolean {
    const [head] = this.#parts
    return head?.reader === reader && head.chunks.fullBytes === 0
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#failure) throw this.#failure
      const chunk = this.#shift()
      if (chunk) return chunk
      if (this.#parts.length > 0 || !this.#areAllBegun) {
        await this.#change()
        continue
      }
      if (!this.#isCommitted) await this.#leader.session.commit()
      this.#isCommitted = true
      return this.#header.shift()
    }
  }

  #shift(): Uint8Array | undefined {
    for (let part; (part = this.#parts[0]);) {
      if (part.chunks.fullBytes > 0) {
        const chunk = this.#header.shift() ?? part.shift()
        this.#isFirstChunk = false
        this.#changed()
        return chunk
      }
      if (!part.isComplete) return undefined
      this.#parts.shift()
      this.#emittedRows += part.rows
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

  /** Reads parts in a further session of the same snapshot, until none is left to begin or others wait for the session. */
  async readWith(reader: PartReader): Promise<void> {
    this.#extraReaders++
    try {
      await this.#readParts(reader)
    } finally {
      this.#extraReaders--
      this.#changed()
    }
  }

  /** Ends the work of a further reader, and drops complete parts that are not first in the file: their memory is given back. */
  stop(reader: PartReader): void {
    if (this.#isLeaderDone) return
    reader.isStopped = true
    reader.session.destroy()
    for (const part of this.#parts.slice(1)) if (part.isComplete) part.reset()
    this.#changed()
  }

  async #readParts(reader: PartReader): Promise<void> {
    try {
      for (let copy; (copy = reader.next ?? (await this.#nextCopy(reader)));) {
        const { part, done } = copy
        reader.now = copy
        reader.next = undefined
        this.#changed()
        await done
        reader.now = undefined
        if (part.isComplete) reader.lastPartRows = part.rows
        this.#leave(reader, part)
      }
    } finally {
      const { now, next } = reader
      reader.now = reader.next = undefined
      for (const copy of [now, next]) if (copy) this.#leave(reader, copy.part)
    }
  }

  /** Releases the part. An incomplete part waits for a reader again. */
  #leave(reader: PartReader, part: PartBuffer): void {
    // The last read may have brought the end of the part and more than there is room for.
    reader.resume()
    part.reader = undefined
    if (!part.isComplete) part.reset()
    this.#changed()
  }

  /** Sends the COPY of an unassigned part, or of a new one as soon as there is room for it. Undefined: nothing is left. */
  async #nextCopy(reader: PartReader): Promise<CopyInFlight | undefined> {
    for (;;) {
      if (this.#failure || reader.isStopped) return undefined
      // Found and taken in one step: other readers were woken, too.
      const unassigned = this.#parts.find((part) => part.isUnassigned)
      if (unassigned) return this.#send(reader, unassigned)
      if (reader.shouldYield()) return undefined
      if (this.#mayBegin()) {
        const part = this.#begin()
        if (part) return this.#send(reader, part)
        continue
      }
      // The leader stays until no other reader can leave it anything to read.
      const isLeader = reader === this.#leader
      if (this.#areAllBegun && (!isLeader || this.#parts.every((part) => part.isComplete))) {
        this.#isLeaderDone ||= isLeader
        return undefined
      }
      reader.pause()
      await this.#change()
      reader.resume()
    }
  }

  /** Sends the COPY of a further part before the current one has ended, so that the server does not wait for it. */
  #pipelineNext(reader: PartReader): void {
    const { now, next } = reader
    if (next || !now || now.part.rows < reader.lastPartRows * limits.pipelineShare) return
    if (this.#failure || reader.shouldYield() || !this.#mayBegin() || this.#parts.some((part) => part.isUnassigned)) return
    const part = this.#begin()
    if (part) reader.next = this.#send(reader, part)
  }

  #begin(): PartBuffer | undefined {
    const { value, done } = this.#statements.next()
    if (done) {
      this.#areAllBegun = true
      this.#changed()
      return undefined
    }
    const part = new PartBuffer(value, this.#pool, this.#crlf)
    this.#parts.push(part)
    return part
  }

  #send(reader: PartReader, part: PartBuffer): CopyInFlight {
    part.reader = reader
    const done = part.read(reader.session, () => this.#arrived(reader))
    // Whoever awaits `done` gets its failure.
    done.catch(() => {})
    return { part, done }
  }

  #mayBegin(): boolean {
    const hasRoom = this.#parts.length === 0 || (this.#parts.length < limits.openParts && !this.#isFull())
    return !this.#areAllBegun && hasRoom
  }

  #isFull(): boolean {
    return this.waitingBytes >= Math.max(limits.readAheadBytes, this.#extraReaders * limits.extraReaderBytes)
  }

  /** Runs after each read of a reader's socket. */
  #arrived(reader: PartReader): void {
    reader.arrivals++
    // The first rows are emitted at once: a sparse filter may need long for the next.
    if (this.#isFirstChunk) this.#parts[0]?.chunks.flush()
    this.#pipelineNext(reader)
    this.#changed()
  }

  /** Pauses and resumes readers by the bytes that wait, and wakes whoever waits for a change. */
  #changed(): void {
    const isFull = this.#isFull()
    let isEarlierUnassigned = false
    for (const [place, part] of this.#parts.entries()) {
      const { reader, chunks } = part
      isEarlierUnassigned ||= part.isUnassigned
      if (reader?.now?.part !== part) continue
      const isBlocked = place === 0 ? chunks.fullBytes >= limits.readAheadBytes : isFull
      const isDropped = isBlocked && isEarlierUnassigned && reader === this.#leader
      if (isDropped) part.reset()
      if (isBlocked && !isDropped) reader.pause()
      else reader.resume()
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
