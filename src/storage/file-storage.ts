import { access, constants, mkdir, open, readdir, rm, stat, writeFile, type FileHandle } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { bounds } from "../bounds.ts"
import { ExportStorage, StorageError, type Attempt, type FileReader, type StoredAttempt } from "./export-storage.ts"
import { LocalFile, reasonOf, TEMPORARY } from "./file-writer.ts"

/**
 * Export files on a local disk: `<root>/<export id>.<epoch>.csv`. A file is written under a temporary name,
 * synced and renamed, so a name that ends in `.csv` is a whole file. It is one file, not one a part, because Bun
 * keeps Content-Length, and hands the copying to the kernel, for a file's slice alone.
 */
export const fileStorage = (root: string, spaceReserveBytes: number = bounds.spaceReserveBytes) =>
  Layer.effect(
    ExportStorage,
    Effect.gen(function* () {
      yield* storing(`use EXPORT_STORAGE_PATH=${root}`, async () => {
        await mkdir(root, { recursive: true, mode: 0o700 })
        // Not by writing: a disk that is full is no reason not to serve what is there.
        await access(root, constants.R_OK | constants.W_OK | constants.X_OK)
      })
      return {
        create: (attempt) =>
          Effect.acquireRelease(
            storing(`write export ${attempt.id}`, () => LocalFile.open(pathOf(root, attempt), spaceReserveBytes)),
            (file) => Effect.promise(() => file.close())
          ),
        read: (attempt, bytes) =>
          storing(`read export ${attempt.id}`, async () => {
            checkSize(await stat(pathOf(root, attempt)), bytes)
            return Bun.file(pathOf(root, attempt))
          }),
        open: (attempt, bytes) =>
          Effect.acquireRelease(
            storing(`read export ${attempt.id}`, () => OpenFile.open(pathOf(root, attempt), bytes)),
            (file) => Effect.promise(() => file.close())
          ),
        remove: (attempt) =>
          storing(`remove export ${attempt.id}`, async () => {
            await rm(pathOf(root, attempt), { force: true })
            await rm(`${pathOf(root, attempt)}${TEMPORARY}`, { force: true })
          }),
        list: storing(`list ${root}`, () => listAttempts(root)),
        check: storing(`write to ${root}`, async () => {
          // One name for all: whoever was killed in between leaves no more than this.
          const probe = join(root, ".probe")
          try {
            await writeFile(probe, "ok", { mode: 0o600 })
          } finally {
            await rm(probe, { force: true })
          }
        })
      }
    })
  )

const FILE_NAME = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,9})\.csv(?:\.tmp)?$/

const pathOf = (root: string, { id, epoch }: Attempt) => join(root, `${id}.${epoch}.csv`)

const toStorageError = (verb: string, cause: unknown) =>
  new StorageError({ message: `Cannot ${verb}: ${reasonOf(cause)}`, cause })

const storing = <A>(verb: string, work: () => Promise<A>): Effect.Effect<A, StorageError> =>
  Effect.tryPromise({ try: work, catch: (cause) => toStorageError(verb, cause) })

const listAttempts = async (root: string): Promise<ReadonlyArray<StoredAttempt>> => {
  const attempts: Array<StoredAttempt> = []
  for (const name of await readdir(root)) {
    const [, id, epoch] = FILE_NAME.exec(name) ?? []
    // An export may be removed while we look.
    const found = id === undefined ? undefined : await stat(join(root, name)).catch(() => undefined)
    if (id !== undefined && found) attempts.push({ id, epoch: Number(epoch), ageMs: Date.now() - found.mtimeMs })
  }
  return attempts
}

const checkSize = ({ size }: { readonly size: number }, expected: number) => {
  if (size !== expected) throw new Error(`its file has ${size} bytes instead of ${expected}`)
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
