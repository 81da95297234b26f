import { type Statement } from "../../source/statement.ts"
import { limits } from "../../limits.ts"
import { BufferPool, ChunkWriter } from "../../formats/chunk-writer.ts"
import type { CsvEncoder } from "../../formats/csv/encoder.ts"
import { beginFile, type ExportBytes, type CsvLayout } from "../export-bytes.ts"
import type { SourceSession } from "../../source/session.ts"
import { toSourceError, type SourceError } from "../../source/source-error.ts"

/** The statement of a cursor, and the rows that the planner expects of it. */
interface CursorPlan {
  readonly statement: Statement
  readonly estimatedRows: number
}

/**
 * Reads a statement through a cursor. Rows are encoded as they arrive, and the next batch is fetched at once: the
 * server works while chunks are taken away. Once `readAheadBytes` wait to be taken the socket is paused, so memory
 * is bounded however wide the rows are.
 */
export class CursorBytes implements ExportBytes {
  rows = 0
  readonly estimatedRows: number
  readonly #session: SourceSession
  readonly #pool: BufferPool
  readonly #chunks: ChunkWriter
  readonly #encoder: CsvEncoder
  readonly #fetch: () => Promise<boolean>
  #paused = false
  #end: "not yet" | "reached" | "committed" | SourceError = "not yet"
  /** Emits the first rows at once: a sparse filter may need long for the next. */
  readonly #flushFirst = () => {
    this.#chunks.flush()
    this.#wake()
  }
  /** Wakes `next` when there is a chunk, or the end. */
  #wake: () => void = () => {}

  constructor(session: SourceSession, layout: CsvLayout, plan: CursorPlan, batchSize: number, chunkSize: number) {
    this.#session = session
    this.estimatedRows = plan.estimatedRows
    this.#pool = new BufferPool(chunkSize)
    this.#chunks = new ChunkWriter(this.#pool)
    this.#encoder = beginFile(layout, this.#chunks)
    this.#fetch = session.cursor(plan.statement, batchSize, (bytes, start) => this.#take(bytes, start))
    void this.#pump()
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#shift()
      if (chunk !== undefined) return chunk
      if (this.#end === "committed") return undefined
      if (this.#end === "reached") {
        await this.#session.commit()
        this.#end = "committed"
        this.#chunks.flush()
      } else if (this.#end === "not yet") {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      } else {
        throw this.#end
      }
    }
  }

  #shift(): Uint8Array | undefined {
    const chunk = this.#chunks.shift()
    if (this.#paused && this.#chunks.fullBytes < limits.readAheadBytes) {
      this.#paused = false
      this.#session.resume()
    }
    return chunk
  }

  recycle(chunk: Uint8Array): void {
    this.#pool.recycle(chunk)
  }

  /** Runs per row. No closure is made here, since each would be an allocation. */
  #take(bytes: Buffer, start: number): void {
    this.#encoder.row(bytes, start)
    this.rows++
    if (this.rows === 1) queueMicrotask(this.#flushFirst)
    if (this.#chunks.fullBytes === 0) return
    this.#wake()
    if (!this.#paused && this.#chunks.fullBytes >= limits.readAheadBytes) {
      this.#paused = true
      this.#session.pause()
    }
  }

  async #pump(): Promise<void> {
    try {
      while (await this.#fetch());
      this.#end = "reached"
    } catch (cause) {
      this.#end = toSourceError(cause)
    }
    this.#wake()
  }
}
