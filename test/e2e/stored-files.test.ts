/** The files of exports in the storage: whose they are, when they are removed, and what /ready says about their disk. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { mkdir, readdir, rename, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { createExport, download, reaches, statusOf } from "../support/client.ts"
import { send } from "../support/raw-http.ts"
import { startService, storedFiles } from "../support/service.ts"
import { freshDatabase, temporaryDirectory } from "../support/shared-service.ts"
import { mountFileSystem } from "../support/file-systems.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

const HOUR_MS = 3_600_000

/** Writes a file that is that old. */
const plant = async (directory: string, name: string, ageMs: number) => {
  const path = join(directory, name)
  await writeFile(path, "x")
  const time = new Date(Date.now() - ageMs)
  await utimes(path, time, time)
}

test("files of expired exports and of dead attempts are removed, and files that may belong to others are not", async () => {
  const storage = await temporaryDirectory()
  const env = { DATABASE_URL: await freshDatabase(), EXPORT_STORAGE_PATH: storage, EXPORT_TTL: "1 second" }
  const first = await startService(env)
  const id = await createExport(first, "?total=10")
  const { expiresAt } = await reaches(first, id, "completed")
  await first.stop()
  const [folder] = await readdir(storage)
  const own = join(storage, folder!)
  const [old, young, elsewhere, earlier] = Array.from({ length: 4 }, () => crypto.randomUUID())
  await plant(own, `${old}.1.csv.tmp`, HOUR_MS)
  await plant(own, "notes.txt", HOUR_MS)
  // One file belongs to another database, and an earlier version wrote the other for some database.
  await mkdir(join(storage, crypto.randomUUID()))
  const other = (await readdir(storage)).find((name) => name !== folder)!
  await plant(join(storage, other), `${elsewhere}.1.csv`, 2 * HOUR_MS)
  await plant(storage, `${earlier}.1.csv`, 2 * HOUR_MS)
  await until("the export to expire", () => Date.now() > Date.parse(expiresAt!))

  const second = await startService({ ...env, EXPORT_TTL: "30 minutes" })
  await plant(own, `${young}.1.csv`, 0)
  await until("the sweep", async () => (await statusOf(second, id)).status === "expired")
  await until("the files to be gone", async () => {
    const names = await storedFiles(storage)
    return !names.some((name) => name.startsWith(id) || name.startsWith(old!))
  })
  const kept = [`${young}.1.csv`, "notes.txt", `${elsewhere}.1.csv`, `${earlier}.1.csv`]
  expect((await storedFiles(storage)).toSorted()).toEqual(kept.toSorted())
  expect((await fetch(`${second.url}/exports/${id}/download`)).status).toBe(410)
  await second.stop()
})

test("services with two databases share a storage, and neither removes the files of the other", async () => {
  const env = { EXPORT_STORAGE_PATH: await temporaryDirectory(), EXPORT_TTL: "1 day" }
  const first = await startService({ ...env, DATABASE_URL: await freshDatabase() })
  const id = await createExport(first, "?total=10")
  await reaches(first, id, "completed")
  // Its exports are kept for a second, and a file of the other service is older than that when it looks for old files.
  const database = await freshDatabase()
  const started = Date.now()
  await until("a second to pass", () => Date.now() - started > 1_000)
  const sweeper = await startService({ ...env, DATABASE_URL: database, EXPORT_TTL: "1 second" })
  const theirs = await createExport(sweeper, "?total=20")
  const { expiresAt } = await reaches(sweeper, theirs, "completed")
  await sweeper.stop()
  await until("the export of the second service to expire", () => Date.now() > Date.parse(expiresAt!))
  const again = await startService({ ...env, DATABASE_URL: database, EXPORT_TTL: "1 second" })
  await until("the sweep", () => again.log().some(({ message }) => message === "swept"))

  expect(await storedFiles(env.EXPORT_STORAGE_PATH)).toEqual([`${id}.1`])
  expect((await download(first, id)).toString().split("\n")).toHaveLength(12)
  await Promise.all([first.stop(), again.stop()])
})

test.each([
  ["under its name with .csv", (folder: string) => folder],
  ["beside the folders of the databases", () => ""]
])("a file where an earlier version stored it, %s, is still served, and removed with its export", async (_, earlierFolder) => {
  const service = await startService()
  const id = await createExport(service, "?total=10")
  await reaches(service, id, "completed")
  const [folder] = await readdir(service.storage)
  await rename(join(service.storage, folder!, `${id}.1`), join(service.storage, earlierFolder(folder!), `${id}.1.csv`))
  expect((await download(service, id)).toString().split("\n")).toHaveLength(12)
  expect((await fetch(`${service.url}/exports/${id}`, { method: "DELETE" })).status).toBe(204)
  expect(await storedFiles(service.storage)).toEqual([])
  await service.stop()
})

/** A disk that is smaller than the space that must stay free. */
const disk = await mountFileSystem("tmpfs", "size=4m")

test.skipIf(disk === undefined)(
  "a full disk leaves the service ready, and /ready says that nothing new can be stored",
  async () => {
    const service = await startService({ EXPORT_STORAGE_PATH: disk! })
    const answer = await send(service.url, { target: "/ready" })
    const detail = "New exports cannot be stored. Cannot write to the storage: the disk that holds the exports is full"
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { status: "ready", degraded: [{ field: "storage", detail }] }])
    expect((await fetch(`${service.url}/api/v1/exports/csv?total=1`)).status).toBe(200)
    await service.stop()
  }
)

/** A large disk, which takes no memory before it is used. */
const large = await mountFileSystem("tmpfs", "size=200m")

test.skipIf(large === undefined)(
  "a disk that becomes read-only leaves the service ready: what is stored is still served",
  async () => {
    const service = await startService({ EXPORT_STORAGE_PATH: large! })
    const id = await createExport(service, "?total=10")
    await reaches(service, id, "completed")
    const remount = (mode: "ro" | "rw") => expect(Bun.spawnSync(["mount", "-o", `remount,${mode}`, large!]).success).toBe(true)
    const isDegraded = async () => (await send(service.url, { target: "/ready" })).body.includes("degraded")
    remount("ro")
    await until("/ready to be degraded", isDegraded)
    const answer = await send(service.url, { target: "/ready" })
    const detail = "New exports cannot be stored. Cannot write to the storage: EROFS: read-only file system"
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { status: "ready", degraded: [{ field: "storage", detail }] }])
    expect((await download(service, id)).toString().split("\n")).toHaveLength(12)
    remount("rw")
    await until("/ready not to be degraded", async () => !(await isDegraded()))
    await service.stop()
  }
)
