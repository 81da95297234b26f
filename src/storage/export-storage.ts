import { Context, Data, Effect, type Scope } from "effect"

/**
 * The storage failed. `message` is for people who export and does not name a path; `logged` has what the system said.
 * `reason` is given when another try is of no use: the file is gone, or it is not what was written.
 */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly message: string
  readonly cause?: unknown
  readonly reason?: "missing" | "damaged"
}> {
  static readonly problems = {
    missing: { type: "file-missing", status: 410, meaning: "The file was removed from the storage; create the export again." },
    damaged: { type: "file-damaged", status: 500, meaning: "The file was changed in the storage; create the export again." },
    unreadable: { type: "file-unreadable", status: 500, meaning: "The storage does not give the file." }
  } as const

  get logged(): string {
    const { message } = (this.cause ?? {}) as { readonly message?: unknown }
    return typeof message !== "string" || this.message.includes(message) ? this.message : `${this.message} (${message})`
  }
}

/** There is no room for the export, or soon would not be. Trying again at once does not help. */
export class StorageFull extends Data.TaggedError("StorageFull")<{ readonly message: string }> {}

/** One attempt (epoch) of one export: its file stands apart from every other attempt's. */
export interface Attempt {
  readonly id: string
  readonly epoch: number
}

export interface StoredAttempt extends Attempt {
  readonly ageMs: number
  /** Whether only exports of this app database are stored at the place where the attempt was found. */
  readonly isOurs: boolean
}

/** A finished file. `crc32` is 8 hex digits, over all bytes. */
export interface StoredFile {
  readonly bytes: number
  readonly crc32: string
}

/** A file being written. Nothing of it is visible before `finish`, which makes it durable. Rejects with StorageError or StorageFull. */
export interface FileWriter {
  /** Resolves when the storage has taken the chunk, which may be reused then. One call at a time. */
  write(chunk: Uint8Array): Promise<void>
  finish(): Promise<StoredFile>
}

/** A finished file that is sent range by range. */
export interface FileRanges {
  /** Streams the bytes from `start` to before `end`. The file is opened when the stream is read. */
  stream(start: number, end: number): ReadableStream<Uint8Array>
}

/** A finished file that is open: it may be removed meanwhile. */
export interface FileReader {
  /** Fills `into` with the bytes from `position` on, and returns how many there were: 0 at the end. Rejects with StorageError. */
  read(into: Uint8Array, position: number): Promise<number>
}

/** Where export files are kept. A file is immutable once finished. */
export class ExportStorage extends Context.Tag("ExportStorage")<
  ExportStorage,
  {
    /** Opens the file of an attempt. Closing the scope before `finish` leaves nothing of it. */
    readonly create: (attempt: Attempt) => Effect.Effect<FileWriter, StorageError, Scope.Scope>
    /** Finds the finished file, whose ranges are then sent. Fails when it has not `bytes` bytes. */
    readonly read: (attempt: Attempt, bytes: number) => Effect.Effect<FileRanges, StorageError>
    /** Opens the same file, to read it into the caller's memory. The scope owns it. */
    readonly open: (attempt: Attempt, bytes: number) => Effect.Effect<FileReader, StorageError, Scope.Scope>
    /** Removes what is stored of an attempt. It may be gone already. */
    readonly remove: (attempt: Attempt) => Effect.Effect<void, StorageError>
    /** Lists all attempts of which anything is stored, except those that are known to belong to another app database. */
    readonly list: Effect.Effect<ReadonlyArray<StoredAttempt>, StorageError>
    /** Succeeds if what is stored can be read. The messages of both checks do not name a path, since clients see them. */
    readonly check: Effect.Effect<void, StorageError>
    /** Succeeds when a new export can be stored. */
    readonly checkWritable: Effect.Effect<void, StorageError | StorageFull>
  }
>() {}

/** Removes an attempt; where that fails the log says so, and the sweeper tries again. */
export const discard = (storage: Context.Tag.Service<ExportStorage>, attempt: Attempt): Effect.Effect<void> =>
  storage.remove(attempt).pipe(Effect.catchAll((error) => Effect.logWarning(`${error.logged}; the sweeper will try again`)))
