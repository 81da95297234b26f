/** What the sweeper removes from the storage, and how rarely it lists it. */
import { beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { ExportStore } from "../../src/jobs/export-store.ts"
import { Sweeper } from "../../src/jobs/sweeper.ts"
import { ExportStorage, StorageError, type Attempt } from "../../src/storage/export-storage.ts"
import { fileStorage } from "../../src/storage/local/file-storage.ts"
import { settings } from "../support/effect.ts"
import { inScope, temporaryDirectory } from "../support/shared-service.ts"
import { storedFiles } from "../support/service.ts"
import { until } from "../support/until.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

setDefaultTimeout(60_000)
const run = Effect.runPromise
const DATABASE = crypto.randomUUID()

let jobs: Jobs
let root: string
let sweeper: Sweeper
let lists = 0
let removed: Array<Attempt> = []
/** The id of an export whose files cannot be removed. */
let stuck: string | undefined
beforeAll(async () => {
  jobs = await startJobs()
  root = await temporaryDirectory()
  const counting = Layer.effect(
    ExportStorage,
    Effect.map(ExportStorage, (storage) => ({
      ...storage,
      list: Effect.suspend(() => {
        lists++
        return storage.list
      }),
      remove: (attempt) => {
        removed.push(attempt)
        return attempt.id === stuck ? Effect.fail(new StorageError({ message: "it is stuck" })) : storage.remove(attempt)
      }
    }))
  ).pipe(Layer.provide(fileStorage(root, DATABASE, 0)))
  const layer = Sweeper.Default.pipe(
    Layer.provide(Layer.mergeAll(Layer.succeed(ExportStore, jobs.store), counting, settings({ EXPORT_TTL: "1 hour" })))
  )
  await mkdir(join(root, DATABASE))
  sweeper = Effect.runSync(Effect.provide(Sweeper, await inScope(Layer.build(layer))))
  await until("the start", () => lists > 0)
})
beforeEach(() => {
  removed = []
  stuck = undefined
})

/** Stores a file for an attempt of an export. */
const store = ({ id, epoch }: Attempt) => writeFile(join(root, DATABASE, `${id}.${epoch}`), "x")
const isStored = async ({ id, epoch }: Attempt) => (await storedFiles(root)).includes(`${id}.${epoch}`)
/** An export whose second attempt is under way, and a file of each attempt. */
const twice = async () => {
  const id = await jobs.created()
  const first = await jobs.claimed(id)
  const second = await jobs.claimed(id)
  for (const attempt of [first, second]) await store(attempt)
  return { id, first, second }
}

test("files of all attempts of a cancelled, failed or expired export are removed, once, without a list of the storage", async () => {
  const [cancelled, failed, expired, running] = [await twice(), await twice(), await twice(), await twice()]
  await run(jobs.store.cancel(cancelled.id))
  await run(jobs.store.fail(failed.second, "the end"))
  await run(jobs.store.complete(expired.second, { bytes: 1, crc32: "00000000", rows: 1 }))
  await jobs.sql`update sluice.exports set expires_at = now() where id = ${expired.id}`
  const before = lists
  await run(sweeper.sweep)
  for (const { first, second } of [cancelled, failed, expired]) {
    expect([await isStored(first), await isStored(second)]).toEqual([false, false])
  }
  expect(await isStored(running.second)).toBe(true)
  expect(removed).toHaveLength(6)
  await run(sweeper.sweep)
  expect(removed).toHaveLength(6)
  expect(lists).toBe(before)
})

test("an export whose file cannot be removed keeps no other, and is tried again", async () => {
  const [one, other] = [await twice(), await twice()]
  for (const { id } of [one, other]) await run(jobs.store.cancel(id))
  stuck = one.id
  await run(sweeper.sweep)
  expect([await isStored(one.second), await isStored(other.second)]).toEqual([true, false])
  stuck = undefined
  await run(sweeper.sweep)
  expect(await isStored(one.second)).toBe(false)
})

test("a list of the storage finds what an earlier attempt of a completed export left, and keeps its file", async () => {
  const { first, second } = await twice()
  await run(jobs.store.complete(second, { bytes: 1, crc32: "00000000", rows: 1 }))
  await run(sweeper.sweep)
  expect(await isStored(first)).toBe(true)
  await run(sweeper.sweepStorage)
  expect([await isStored(first), await isStored(second)]).toEqual([false, true])
})
