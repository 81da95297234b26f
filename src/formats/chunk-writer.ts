/**
 * Keeps buffers of one size that nobody reads any more, to be filled again: a new one costs the system more, page by
 * page, than the bytes that are copied into it.
 */
export class BufferPool {
  readonly #free: Array<Buffer> = []
  readonly #maxFree: number

  /** Keeps up to `maxFreeBytes`, and one being filled, one being written and one of slack in any case. */
  constructor(
    readonly bufferBytes: number,
    maxFreeBytes = 0
  ) {
    this.#maxFree = 3 + Math.floor(maxFreeBytes / bufferBytes)
  }

  acquire(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bufferBytes)
  }

  recycle({ buffer }: Uint8Array): void {
    if (buffer.byteLength === this.bufferBytes && this.#free.length < this.#maxFree) this.#free.push(Buffer.from(buffer))
  }
}

const NO_BUFFER: Buffer = Buffer.alloc(0)

/**
 * Gathers bytes into chunks of the pool's size, and keeps those that are full until they are taken, in order. The
 * taker owns a chunk; giving it back to the pool lets its buffer be filled again.
 *
 * A caller that writes value by value does so into `buffer` at `position`, after `reserve` has made room where there is none.
 */
export class ChunkWriter {
  buffer: Buffer = NO_BUFFER
  position = 0
  /** Bytes of the chunks that `shift` would give. */
  fullBytes = 0
  readonly #full: Array<Uint8Array> = []

  constructor(readonly pool: BufferPool) {}

  append(bytes: Buffer, start: number, end: number): void {
    for (let from = start; from < end;) {
      if (this.position === this.buffer.length) this.reserve(1)
      const to = Math.min(end, from + this.buffer.length - this.position)
      bytes.copy(this.buffer, this.position, from, to)
      this.position += to - from
      from = to
    }
  }

  /** Closes the chunk that is being filled, if it holds anything, and opens one with room for `bytes`: a larger one if need be. */
  reserve(bytes: number): void {
    this.flush()
    this.buffer = bytes > this.pool.bufferBytes ? Buffer.allocUnsafeSlow(bytes) : this.pool.acquire()
  }

  /** Closes the chunk that is being filled, if it has bytes. */
  flush(): void {
    if (this.position === 0) return
    this.#full.push(this.buffer.subarray(0, this.position))
    this.fullBytes += this.position
    this.buffer = NO_BUFFER
    this.position = 0
  }

  /** Takes the oldest full chunk, if there is one. */
  shift(): Uint8Array | undefined {
    const chunk = this.#full.shift()
    if (chunk) this.fullBytes -= chunk.length
    return chunk
  }
}
