import { access, constants, mkdir, open, opendir, readdir, rm, stat, statfs, writeFile, type FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { limits } from "../../limits.ts"
import { ExportStorage, StorageError, StorageFull, type Attempt, type FileReader, type StoredAttempt } from "../export-storage.ts"
import { codeOf, LocalFile, reasonOf, TEMPORARY } from "./file-writer.ts"

/**
 * Keeps export files on a local disk: `<root>/<database id>/<export id>.<epoch>`. Several app databases may share the
 * root; each has a folder of its own, so that no sweeper takes another's files for abandoned ones. Earlier versions
 * ended the names in `.csv`, and before that wrote to the root itself: such files are still read, and removed by the
 * database that knows their export.
 *
 * A file is written under a temporary name, synced and renamed, so a file without that ending is complete. It is one
 * file, not one for each part, because Bun keeps Content-Length, and lets the kernel copy, only for the stream of a file.
 */
export const fileStorage = (root: string, databaseId: string, spaceReserveBytes: number = limits.spaceReserveBytes) =>
  Layer.effect(
    ExportStorage,
    Effect.gen(function* () {
      const folder = join(root, databaseId)
      /** The paths of an attempt's file, of this version and of those before it. */
      const pathsOf = (attempt: Attempt) => [
        fileIn(folder, attempt),
        `${fileIn(folder, attempt)}${EARLIER}`,
        `${fileIn(root, attempt)}${EARLIER}`
      ]
      /** Calls `use` with the path of the file. */
      const withFile = async <A>(attempt: Attempt, use: (path: string) => Promise<A>): Promise<A> => {
        for (const path of pathsOf(attempt)) {
          try {
            return await use(path)
          } catch (cause) {
            if (codeOf(cause) !== "ENOENT") throw cause
          }
        }
        // If the root is missing, too, its disk may not be mounted.
        await stat(root)
        throw new MissingFile("its file is not there")
      }
      yield* tryStorage(`use EXPORT_STORAGE_PATH=${root}`, async () => {
        await mkdir(root, { recursive: true, mode: 0o700 })
        // Not by writing: a disk that is full is no reason not to serve what is there.
        await access(root, constants.R_OK | constants.W_OK | constants.X_OK)
      })
      return {
        create: (attempt) =>
          Effect.acquireRelease(
            tryStorage(`write export ${attempt.id}`, async () => {
              // The parents are not created: if the root is missing, its disk may not be mounted.
              await mkdir(folder, { mode: 0o700 }).catch(unless("EEXIST"))
              return await LocalFile.open(fileIn(folder, attempt), spaceReserveBytes)
            }),
            (file) => Effect.promise(() => file.close())
          ),
        read: (attempt, bytes) =>
          tryStorage(`read export ${attempt.id}`, () =>
            withFile(attempt, async (path) => {
              checkSize(await stat(path), bytes)
              return { stream: (start, end) => Bun.file(path).slice(start, end).stream() }
            })
          ),
        open: (attempt, bytes) =>
          Effect.acquireRelease(
            tryStorage(`read export ${attempt.id}`, () => withFile(attempt, (path) => OpenFile.open(path, bytes))),
            (file) => Effect.promise(() => file.close())
          ),
        remove: (attempt) =>
          tryStorage(`remove export ${attempt.id}`, async () => {
            for (const path of pathsOf(attempt)) {
              await rm(path, { force: true })
              await rm(`${path}${TEMPORARY}`, { force: true })
            }
          }),
        list: tryStorage(`list ${root}`, async () => [
          ...((await listAttempts(folder, true).catch(unless("ENOENT"))) ?? []),
          ...(await listAttempts(root, false))
        ]),
        check: tryStorage("read the storage", async () => {
          await using directory = await opendir(root)
          await directory.read()
        }),
        checkWritable: tryStorage("write to the storage", async () => {
          const { bavail, bsize } = await statfs(root)
          if (bavail * bsize < spaceReserveBytes) return false
          // One name for all: whoever was killed in between leaves no more than this.
          const probe = join(root, ".probe")
          try {
            await writeFile(probe, "ok", { mode: 0o600 })
          } finally {
            await rm(probe, { force: true }).catch(() => {})
          }
          return true
        }).pipe(
          Effect.filterOrFail(
            (hasRoom) => hasRoom,
            () => new StorageFull({ message: "Cannot write to the storage: the disk that holds the exports is full" })
          ),
          Effect.asVoid
        )
      }
    })
  )

/** What earlier versions ended the names of files in. */
const EARLIER = ".csv"

const fileIn = (directory: string, { id, epoch }: Attempt) => join(directory, `${id}.${epoch}`)

const FILE_NAME = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,9})(?:\.csv)?(?:\.tmp)?$/

const unless = (code: string) => (cause: unknown) => {
  if (codeOf(cause) !== code) throw cause
}

class WrongSize extends Error {}
class MissingFile extends Error {}

const toStorageError = (verb: string, cause: unknown) => {
  const message = `Cannot ${verb}: ${reasonOf(cause)}`
  if (cause instanceof MissingFile) return new StorageError({ message, cause, reason: "missing" })
  return cause instanceof WrongSize
    ? new StorageError({ message, cause, reason: "damaged" })
    : new StorageError({ message, cause })
}

const tryStorage = <A>(verb: string, work: () => Promise<A>): Effect.Effect<A, StorageError> =>
  Effect.tryPromise({ try: work, catch: (cause) => toStorageError(verb, cause) })

const listAttempts = async (directory: string, isOurs: boolean): Promise<ReadonlyArray<StoredAttempt>> => {
  const attempts: Array<StoredAttempt> = []
  for (const name of await readdir(directory)) {
    const [, id, epoch] = FILE_NAME.exec(name) ?? []
    // An export may be removed while we look.
    const found = id === undefined ? undefined : await stat(join(directory, name)).catch(() => undefined)
    if (id !== undefined && found) attempts.push({ id, epoch: Number(epoch), ageMs: Date.now() - found.mtimeMs, isOurs })
  }
  return attempts
}

const checkSize = ({ size }: { readonly size: number }, expected: number) => {
  if (size !== expected) throw new WrongSize(`its file has ${size} bytes instead of ${expected}`)
}

class OpenFile implements FileReader {
  #reading: Promise<unknown> = Promise.resolve()

  private constructor(private readonly file: FileHandle) {}

  static async open(path: string, bytes: number): Promise<OpenFile> {
    const file = await open(path, "r")
    try {
      checkSize(await file.stat(), bytes)
      return new OpenFile(file)
    } catch (cause) {
      await file.close()
      throw cause
    }
  }

  read(into: Uint8Array, position: number): Promise<number> {
    const reading = this.file.read(into, 0, into.length, position).then(
      ({ bytesRead }) => bytesRead,
      (cause: unknown) => Promise.reject(toStorageError("read the export", cause))
    )
    this.#reading = reading.catch(() => {})
    return reading
  }

  async close(): Promise<void> {
    // A read that was interrupted still uses the handle.
    await this.#reading
    await this.file.close().catch(() => {})
  }
}
