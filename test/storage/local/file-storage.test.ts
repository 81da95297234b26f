/** Export files on a local disk: the contract of every storage, and what only a disk can do. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import { StorageError, StorageFull, type FileWriter } from "../../../src/storage/export-storage.ts"
import { fileStorage } from "../../../src/storage/local/file-storage.ts"
import { mountFileSystem } from "../../support/file-systems.ts"
import { storedFiles } from "../../support/service.ts"
import { temporaryDirectory } from "../../support/shared-service.ts"
import {
  failure,
  listed,
  load,
  newAttempt,
  openStorage,
  randomBytes,
  storageContract,
  store,
  writing
} from "../storage-contract.ts"

setDefaultTimeout(30_000)

const MEGABYTE = 1 << 20
const DATABASE = "6f1c2a34-0000-4000-8000-00000000da7a"

/** Returns the failure of the first write that does not fit, and how many writes did. */
const fillUp = async (file: FileWriter): Promise<{ error: unknown; written: number }> => {
  const chunk = randomBytes(MEGABYTE / 4)
  for (let written = 0; ; written++) {
    const error = await file.write(chunk).then(
      () => undefined,
      (cause: unknown) => cause
    )
    if (error !== undefined) return { error, written }
  }
}

/** A disk of 4 MB, and one without direct I/O. */
const disk = await mountFileSystem("tmpfs", "size=4m")
const indirect = await mountFileSystem("ramfs", "mode=0700")

storageContract("a directory", async () => fileStorage(join(await temporaryDirectory(), "exports"), DATABASE, 0))
if (indirect !== undefined) {
  storageContract("a file system without direct I/O", async () =>
    fileStorage(await mkdtemp(join(indirect, "exports-")), DATABASE, 0)
  )
}

describe("files", () => {
  test("bear their final name only when they are finished, and belong to their user alone", async () => {
    const root = join(await temporaryDirectory(), "exports")
    const [storage, attempt] = [await openStorage(fileStorage(root, DATABASE, 0)), newAttempt()]
    await writing(storage, attempt, async (file) => {
      await file.write(randomBytes(10))
      expect((await readdir(root, { recursive: true })).toSorted()).toEqual([DATABASE, `${DATABASE}/${attempt.id}.1.tmp`])
      await file.finish()
      expect((await readdir(root, { recursive: true })).toSorted()).toEqual([DATABASE, `${DATABASE}/${attempt.id}.1`])
    })
    const modes = [root, join(root, DATABASE), join(root, DATABASE, `${attempt.id}.1`)].map(async (path) =>
      ((await stat(path)).mode & 0o777).toString(8)
    )
    expect(await Promise.all(modes)).toEqual(["700", "700", "600"])
  })

  test("that a killed service left are listed, and can be removed; other files are not touched", async () => {
    const root = await temporaryDirectory()
    const folder = join(root, DATABASE)
    await mkdir(folder)
    const [storage, attempt] = [await openStorage(fileStorage(root, DATABASE, 0)), newAttempt()]
    const others = ["notes.csv", ".probe-1", `${attempt.id}.csv`, `x${attempt.id}.1`, `${attempt.id}.1.json`]
    for (const name of [...others, `${attempt.id}.6.csv.tmp`, `${attempt.id}.7.tmp`]) await writeFile(join(folder, name), "left")
    expect(await listed(storage)).toEqual([6, 7].map((epoch) => ({ ...attempt, epoch })))
    for (const epoch of [6, 7]) await Effect.runPromise(storage.remove({ ...attempt, epoch }))
    expect((await readdir(folder)).toSorted()).toEqual(others.toSorted())
  })

  test("of another database in the same directory are neither listed, read nor removed", async () => {
    const root = await temporaryDirectory()
    const [storage, other, attempt] = [
      await openStorage(fileStorage(root, DATABASE, 0)),
      await openStorage(fileStorage(root, crypto.randomUUID(), 0)),
      newAttempt()
    ]
    await store(other, attempt, [randomBytes(10)])
    expect(await listed(storage)).toEqual([])
    expect(await failure(storage.read(attempt, 10))).toBeInstanceOf(StorageError)
    await Effect.runPromise(storage.remove(attempt))
    expect(await listed(other)).toEqual([attempt])
  })

  test("that earlier versions wrote, as .csv or beside the folders of the databases, are listed, read and removed", async () => {
    const root = await temporaryDirectory()
    const storage = await openStorage(fileStorage(root, DATABASE, 0))
    const [inRoot, inFolder, current] = [newAttempt(), newAttempt(), newAttempt()]
    await store(storage, current, [Buffer.from("current")])
    await writeFile(join(root, DATABASE, `${inFolder.id}.1.csv`), "earlier")
    await writeFile(join(root, `${inRoot.id}.1.csv`), "earlier")
    const found = await Effect.runPromise(storage.list)
    // A file in the root may be another database's.
    expect(
      found
        .filter(({ isOurs }) => isOurs)
        .map(({ id }) => id)
        .toSorted()
    ).toEqual([current.id, inFolder.id].toSorted())
    expect(found.filter(({ isOurs }) => !isOurs).map(({ id }) => id)).toEqual([inRoot.id])
    for (const earlier of [inRoot, inFolder]) {
      expect(Buffer.from(await load(storage, earlier, 7)).toString()).toBe("earlier")
      await Effect.runPromise(Effect.scoped(storage.open(earlier, 7)))
      await Effect.runPromise(storage.remove(earlier))
    }
    expect(await listed(storage)).toEqual([current])
  })

  test("that were cut short on the disk are refused with both lengths", async () => {
    const root = await temporaryDirectory()
    const [storage, attempt] = [await openStorage(fileStorage(root, DATABASE, 0)), newAttempt()]
    await store(storage, attempt, [randomBytes(100)])
    await truncate(join(root, DATABASE, `${attempt.id}.1`), 99)
    for (const reading of [storage.read(attempt, 100), Effect.scoped(storage.open(attempt, 100))]) {
      const { message } = await failure<StorageError>(reading)
      expect(message).toBe(`Cannot read export ${attempt.id}: its file has 99 bytes instead of 100`)
    }
  })
})

describe("a directory that is not usable", () => {
  test("fails the checks and every new file", async () => {
    const root = join(await temporaryDirectory(), "exports")
    const storage = await openStorage(fileStorage(root, DATABASE, 0))
    await rm(root, { recursive: true })
    await writeFile(root, "in its place")
    expect((await failure(storage.check)).message).toBe("Cannot read the storage: ENOTDIR: not a directory")
    expect((await failure(storage.checkWritable)).message).toBe("Cannot write to the storage: ENOTDIR: not a directory")
    expect(await failure(Effect.scoped(storage.create(newAttempt())))).toBeInstanceOf(StorageError)
    expect(await failure(storage.list)).toBeInstanceOf(StorageError)
  })

  test("fails the start when it cannot be made", async () => {
    const file = join(await temporaryDirectory(), "file")
    await writeFile(file, "")
    const error = await openStorage(fileStorage(join(file, "exports"), DATABASE, 0)).catch(String)
    expect(error).toContain(`Cannot use EXPORT_STORAGE_PATH=${file}/exports: ENOTDIR`)
  })
})

describe("a full disk", () => {
  test("with no more space than the reserve refuses the first write, and keeps nothing of the file", async () => {
    const root = await temporaryDirectory()
    const storage = await openStorage(fileStorage(root, DATABASE, Number.MAX_SAFE_INTEGER))
    const { error, written } = await writing(storage, newAttempt(), fillUp)
    expect(error).toBeInstanceOf(StorageFull)
    expect((error as StorageFull).message).toMatch(/^Cannot write the export: the disk .*is full$/)
    expect(written).toBe(0)
    expect(await failure(storage.checkWritable)).toBeInstanceOf(StorageFull)
    await Effect.runPromise(storage.check)
    expect(await storedFiles(root)).toEqual([])
  })

  describe.skipIf(disk === undefined)("for real (skipped where no tmpfs can be mounted, which needs root)", () => {
    const root = disk!
    const open = () => openStorage(fileStorage(root, DATABASE, 0))

    test("fails the write that does not fit, leaves nothing, and has room again", async () => {
      const storage = await open()
      const { error, written } = await writing(storage, newAttempt(), fillUp)
      expect(error).toBeInstanceOf(StorageFull)
      expect(written).toBeGreaterThan(10)
      expect(await storedFiles(root)).toEqual([])
      const attempt = newAttempt()
      expect(await store(storage, attempt, [randomBytes(3 * MEGABYTE)])).toMatchObject({ bytes: 3 * MEGABYTE })
      await Effect.runPromise(storage.remove(attempt))
    })

    test("keeps the files that are finished", async () => {
      const [storage, attempt] = [await open(), newAttempt()]
      const { crc32 } = await store(storage, attempt, [randomBytes(MEGABYTE)])
      await writing(storage, newAttempt(), fillUp)
      expect(await listed(storage)).toEqual([attempt])
      const read = await load(storage, attempt, MEGABYTE)
      expect(Bun.hash.crc32(read).toString(16).padStart(8, "0")).toBe(crc32)
      await Effect.runPromise(storage.remove(attempt))
    })

    test("can be read but not written to, and the check leaves no trace", async () => {
      const storage = await open()
      await writeFile(join(root, "filler"), randomBytes(4 * MEGABYTE))
      await Effect.runPromise(storage.check)
      expect(await failure(storage.checkWritable)).toBeInstanceOf(StorageError)
      expect(await storedFiles(root)).toEqual(["filler"])
    })
  })
})
