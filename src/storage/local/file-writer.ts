import { constants } from "node:fs"
import { open, rename, rm, statfs, type FileHandle } from "node:fs/promises"
import { dirname } from "node:path"
import { crc32 } from "node:zlib"
import { limits } from "../../limits.ts"
import { StorageError, StorageFull, type FileWriter, type StoredFile } from "../export-storage.ts"

/** Ends the name of a file that is not finished. */
export const TEMPORARY = ".tmp"

const WRITE = constants.O_WRONLY | constants.O_CREAT
/** What direct I/O wants lengths and positions to be multiples of, on any usual disk. */
const SECTOR_BYTES = 4096

/** Returns the system's message without the path, since clients see the error of an export. */
export const reasonOf = (cause: unknown): string => (cause as Error).message.replace(/, \w+( '.*)?$/s, "")

export const codeOf = (cause: unknown) => (cause as { readonly code?: string }).code ?? ""

/**
 * A file on a local disk under a temporary name, synced and renamed at the end.
 *
 * What comes is gathered in a block, and written while the next one is filled. It goes around the page cache where the
 * file system lets it (O_DIRECT): an export larger than memory would push out what the database beside it has cached,
 * and the kernel's copy costs more than the rest of the way to the disk.
 * @see https://man7.org/linux/man-pages/man2/open.2.html
 */
export class LocalFile implements FileWriter {
  #bytes = 0
  #crc = 0
  #filling = Buffer.allocUnsafeSlow(limits.writeBytes)
  #filled = 0
  #spare = Buffer.allocUnsafeSlow(limits.writeBytes)
  #flushedBytes = 0
  #spaceCheckedAt = 0
  #syncedAt = 0
  /** The call of `write`, the write of a block and the sync under way; none of them rejects. */
  #taking: Promise<unknown> = Promise.resolve()
  #writing: Promise<void> = Promise.resolve()
  #syncing: Promise<void> | undefined
  /** Why a write or a sync failed, which the system reports once. */
  #failure: unknown
  #finished = false

  private constructor(
    private file: FileHandle,
    private direct: boolean,
    private readonly path: string,
    private readonly reserve: number
  ) {}

  /** Leaves at least `reserve` bytes of the disk free. */
  static async open(path: string, reserve: number): Promise<LocalFile> {
    const flags = WRITE | constants.O_TRUNC
    try {
      // Undefined where the system has no such flag.
      return new LocalFile(await open(path + TEMPORARY, flags | (constants.O_DIRECT ?? 0), 0o600), true, path, reserve)
    } catch (cause) {
      if (codeOf(cause) !== "EINVAL") throw cause
      return new LocalFile(await open(path + TEMPORARY, flags, 0o600), false, path, reserve)
    }
  }

  write(chunk: Uint8Array): Promise<void> {
    const taking = this.#take(chunk).catch((cause: unknown) => {
      throw this.#explain(cause)
    })
    this.#taking = taking.catch(() => {})
    return taking
  }

  async finish(): Promise<StoredFile> {
    try {
      if (this.#filled > 0) await this.#flush()
      await this.#writing
      await this.#syncing
      this.#throwFailure()
      // The last block was written up to the end of a sector.
      await this.file.truncate(this.#bytes)
      await this.file.sync()
      await rename(this.path + TEMPORARY, this.path)
      this.#finished = true
      // Makes the name durable too.
      await using directory = await open(dirname(this.path), "r")
      await directory.sync()
    } catch (cause) {
      throw this.#explain(cause)
    }
    return { bytes: this.#bytes, crc32: this.#crc.toString(16).padStart(8, "0") }
  }

  async close(): Promise<void> {
    // What was interrupted still uses the handle.
    await this.#taking
    await this.#writing
    await this.#syncing
    await this.file.close().catch(() => {})
    if (!this.#finished) await rm(this.path + TEMPORARY, { force: true }).catch(() => {})
  }

  async #take(chunk: Uint8Array): Promise<void> {
    this.#throwFailure()
    if (this.#bytes >= this.#spaceCheckedAt) {
      const { bavail, bsize } = await statfs(dirname(this.path))
      if (bavail * bsize < this.reserve) throw this.#full()
      this.#spaceCheckedAt = this.#bytes + limits.spaceCheckBytes
    }
    for (let from = 0; from < chunk.length;) {
      const to = Math.min(chunk.length, from + limits.writeBytes - this.#filled)
      this.#filling.set(chunk.subarray(from, to), this.#filled)
      this.#filled += to - from
      from = to
      if (this.#filled === limits.writeBytes) await this.#flush()
    }
    this.#crc = crc32(chunk, this.#crc)
    this.#bytes += chunk.length
  }

  /** Starts to write the block that is being filled, once the one before it is written. */
  async #flush(): Promise<void> {
    await this.#writing
    this.#throwFailure()
    const [block, position] = [this.#filling, this.#flushedBytes]
    const end = this.direct ? Math.ceil(this.#filled / SECTOR_BYTES) * SECTOR_BYTES : this.#filled
    block.fill(0, this.#filled, end)
    this.#flushedBytes += this.#filled
    this.#filling = this.#spare
    this.#filled = 0
    this.#spare = block
    this.#writing = this.#put(block.subarray(0, end), position).catch((cause: unknown) => {
      this.#failure ??= cause
    })
    if (this.#flushedBytes - this.#syncedAt >= limits.syncBytes && !this.#syncing) this.#sync()
  }

  async #put(block: Buffer, position: number): Promise<void> {
    let written = 0
    try {
      // A full disk or a signal may cut a write off.
      while (written < block.length) {
        const { bytesWritten } = await this.file.write(block, written, block.length - written, position + written)
        written += bytesWritten
      }
    } catch (cause) {
      if (!this.direct || codeOf(cause) !== "EINVAL") throw cause
      // The file system does not take direct writes, or not in these units.
      this.direct = false
      await this.#syncing
      await this.file.close()
      this.file = await open(this.path + TEMPORARY, WRITE, 0o600)
      await this.#put(block.subarray(written), position + written)
    }
  }

  /** Starts to sync what is written. Otherwise all of it would stay in memory until the end, and be waited for there. */
  #sync(): void {
    this.#syncedAt = this.#flushedBytes
    this.#syncing = this.file
      .datasync()
      .catch((cause: unknown) => {
        this.#failure ??= cause
      })
      .finally(() => {
        this.#syncing = undefined
      })
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  #explain(cause: unknown): StorageError | StorageFull {
    if (cause instanceof StorageFull) return cause
    if (["ENOSPC", "EDQUOT"].includes(codeOf(cause))) return this.#full()
    return new StorageError({ message: `Cannot write the export: ${reasonOf(cause)}`, cause })
  }

  #full() {
    return new StorageFull({ message: "Cannot write the export: the disk that holds the exports is full" })
  }
}
