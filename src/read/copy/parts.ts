import { crc32 } from "node:zlib"
import { ChunkWriter, type BufferPool } from "../../formats/chunk-writer.ts"
import type { CopySink } from "../../source/protocol/copy-data.ts"
import type { SourceSession } from "../../source/session.ts"
import { SourceError } from "../../source/source-error.ts"

/** A part whose COPY was sent to the server. */
export interface CopyInFlight {
  readonly part: PartBuffer
  readonly done: Promise<void>
}

/** A session that reads parts, one after the other: the leader, or a further session in its snapshot. */
export class PartReader {
  /** The COPY that is arriving, and the one that was sent to follow it. */
  now: CopyInFlight | undefined
  next: CopyInFlight | undefined
  /** Rows of the last part that this reader completed. */
  lastPartRows = Number.POSITIVE_INFINITY
  /** The reader begins no further part. */
  isStopped = false
  /** Reads of the socket so far: a reader whose count stands still makes no progress. */
  arrivals = 0
  #pausedAt: number | undefined
  #pausedMs = 0

  /** `shouldYield` says whether others wait for a session. */
  constructor(
    readonly session: SourceSession,
    readonly shouldYield: () => boolean = () => false
  ) {}

  get isPaused(): boolean {
    return this.#pausedAt !== undefined
  }

  pause(): void {
    if (this.isPaused) return
    this.#pausedAt = performance.now()
    this.session.pause()
  }

  resume(): void {
    if (!this.isPaused) return
    this.#pausedMs = this.pausedMs
    this.#pausedAt = undefined
    this.session.resume()
  }

  /** Milliseconds for which the reader was paused so far. */
  get pausedMs(): number {
    return this.#pausedMs + (this.#pausedAt === undefined ? 0 : performance.now() - this.#pausedAt)
  }
}

const changed = () => new SourceError({ message: "Rows changed while a part of the export was read again", retryable: true })

/** The bytes of a part that was begun and is not yet emitted to its end. */
export class PartBuffer {
  chunks: ChunkWriter
  reader: PartReader | undefined
  /** All of the part has arrived. */
  isComplete = false
  rows = 0
  #emittedBytes = 0
  #emittedCrc = 0

  constructor(
    readonly statement: string,
    private readonly pool: BufferPool,
    /** Lines end in CR LF. */
    private readonly crlf: boolean
  ) {
    this.chunks = new ChunkWriter(pool)
  }

  /** Takes the next chunk to emit, if there is one. */
  shift(): Uint8Array | undefined {
    const chunk = this.chunks.shift()
    if (chunk) {
      this.#emittedBytes += chunk.length
      this.#emittedCrc = crc32(chunk, this.#emittedCrc)
    }
    return chunk
  }

  /** The part waits for a reader. */
  get isUnassigned(): boolean {
    return !this.reader && !this.isComplete
  }

  /** Drops what was not emitted, and what a reader still brings of it. The part will be read again. */
  reset(): void {
    this.chunks = new ChunkWriter(this.pool)
    this.rows = 0
    this.isComplete = false
  }

  /**
   * Reads the part. Bytes that were emitted before arrive again, since the snapshot is the same; they are left out, and
   * compared by their CRC-32. The text of a value can change within a snapshot: a label of an enum may be renamed.
   */
  async read(session: SourceSession, arrived: () => void): Promise<void> {
    const { chunks } = this
    const isDropped = () => this.chunks !== chunks
    const emittedBytes = this.#emittedBytes
    let repeatedBytes = 0
    let repeatedCrc = 0
    const sink: CopySink = {
      crlf: this.crlf,
      append: (bytes, start, end) => {
        if (isDropped()) return
        let from = start
        if (repeatedBytes < emittedBytes) {
          from = Math.min(end, start + emittedBytes - repeatedBytes)
          repeatedBytes += from - start
          repeatedCrc = crc32(bytes.subarray(start, from), repeatedCrc)
          if (repeatedBytes === emittedBytes && repeatedCrc !== this.#emittedCrc) throw changed()
        }
        chunks.append(bytes, from, end)
      },
      arrived: (rows) => {
        if (!isDropped()) this.rows = rows
        arrived()
      }
    }
    await session.copy(this.statement, sink)
    if (isDropped()) return
    if (repeatedBytes < emittedBytes) throw changed()
    chunks.flush()
    this.isComplete = true
  }
}
