import { crc32 } from "node:zlib"
import { ChunkWriter, type BufferPool } from "../../formats/chunk-writer.ts"
import type { CopySink } from "../../source/protocol/copy-data.ts"
import type { SourceSession } from "../../source/session.ts"
import { SourceError } from "../../source/source-error.ts"

/** A part that a reader has asked the server for. */
export interface CopyInFlight {
  readonly part: PartBuffer
  readonly done: Promise<void>
}

/** A connection that reads parts, one after the other. */
export class Reader {
  /** What is coming, and what was asked for to come after it. */
  now: CopyInFlight | undefined
  next: CopyInFlight | undefined
  /** Of its last whole part. */
  lastPartRows = Number.POSITIVE_INFINITY
  /** It is to stop. */
  dismissed = false
  /** How often something came on it. */
  arrivals = 0
  #heldAt: number | undefined
  #pausedMs = 0

  /** `wanted`: whether others wait for its connection. */
  constructor(
    readonly connection: SourceSession,
    readonly wanted: () => boolean = () => false
  ) {}

  /** Whether it has to wait, because what it and others have read is not taken fast enough. */
  get held(): boolean {
    return this.#heldAt !== undefined
  }

  set held(held: boolean) {
    if (held === this.held) return
    this.#pausedMs = this.pausedMs
    this.#heldAt = held ? performance.now() : undefined
    if (held) this.connection.pause()
    else this.connection.resume()
  }

  /** How long it was held so far. */
  get pausedMs(): number {
    return this.#pausedMs + (this.#heldAt === undefined ? 0 : performance.now() - this.#heldAt)
  }
}

const changed = (how: string) => new SourceError({ message: `Cannot read a part again: ${how}`, retryable: true })

/** A part that was begun and is not yet handed on to its end. */
export class PartBuffer {
  chunks: ChunkWriter
  reader: Reader | undefined
  /** All of it has come. */
  whole = false
  rows = 0
  /** Bytes handed on, and their CRC-32. */
  #handedBytes = 0
  #handedCrc = 0

  constructor(
    readonly statement: string,
    private readonly pool: BufferPool,
    /** Its lines end in CR LF. */
    private readonly crlf: boolean
  ) {
    this.chunks = new ChunkWriter(pool)
  }

  /** The next chunk to hand on, if there is one. */
  shift(): Uint8Array | undefined {
    const chunk = this.chunks.shift()
    if (chunk) {
      this.#handedBytes += chunk.length
      this.#handedCrc = crc32(chunk, this.#handedCrc)
    }
    return chunk
  }

  get unread(): boolean {
    return !this.reader && !this.whole
  }

  /** Drops what was not handed on, and what a reader still brings of it: the part will be read again. */
  reset(): void {
    this.chunks = new ChunkWriter(this.pool)
    this.rows = 0
    this.whole = false
  }

  /** Reads the part. What was handed on before comes again, since the snapshot is the same, and is left out. */
  async read(connection: SourceSession, arrived: () => void): Promise<void> {
    const { chunks } = this
    const isDropped = () => this.chunks !== chunks
    const handedBytes = this.#handedBytes
    let repeatedBytes = 0
    let repeatedCrc = 0
    const sink: CopySink = {
      crlf: this.crlf,
      append: (bytes, start, end) => {
        if (isDropped()) return
        let from = start
        if (repeatedBytes < handedBytes) {
          from = Math.min(end, start + handedBytes - repeatedBytes)
          repeatedBytes += from - start
          repeatedCrc = crc32(bytes.subarray(start, from), repeatedCrc)
          // A label of an enum that was renamed meanwhile, for example, which no snapshot covers.
          if (repeatedBytes === handedBytes && repeatedCrc !== this.#handedCrc)
            throw changed("the database writes it otherwise now")
        }
        chunks.append(bytes, from, end)
      },
      arrived: (rows) => {
        if (!isDropped()) this.rows = rows
        arrived()
      }
    }
    await connection.copy(this.statement, sink)
    if (isDropped()) return
    if (repeatedBytes < handedBytes) throw changed("the database writes less of it now")
    chunks.flush()
    this.whole = true
  }
}
