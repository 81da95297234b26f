/** What the store writes of attempts that wait, that nobody ends, and that another one follows, on a real database. */
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Exit } from "effect"
import { LeaseLost } from "../../src/jobs/store/commands.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

setDefaultTimeout(60_000)

let { sql, store, created, claimed }: Jobs = {} as Jobs
beforeAll(async () => {
  ;({ sql, store, created, claimed } = await startJobs())
})

const run = Effect.runPromise
const rowOf = async (id: string) => {
  const [row] = await sql`select status, epoch, crashes, failures, percentage, processed_rows::int as rows,
    waiting_since as since from sluice.exports where id = ${id}`
  return row!
}
const loses = async (write: Effect.Effect<unknown, unknown>) =>
  expect(
    Exit.isFailure(await Effect.runPromiseExit(Effect.filterOrFail(Effect.flip(write), (error) => error instanceof LeaseLost)))
  ).toBe(false)

test("a claim of a pending export counts no crash, one of an export that nobody gave back counts one", async () => {
  const id = await created()
  expect(await claimed(id)).toMatchObject({ id, epoch: 1, crashes: 0, failures: 0 })
  expect(await claimed(id)).toMatchObject({ epoch: 2, crashes: 1 })
  await run(store.release(await claimed(id), false))
  expect(await claimed(id)).toMatchObject({ epoch: 4, crashes: 2, failures: 0 })
})

test("an attempt that lost its job to another one takes the crash back, once it is known to live", async () => {
  const id = await created()
  const first = await claimed(id)
  const second = await claimed(id)
  await loses(store.progress(first, { processedRows: 1, totalRows: 2 }))
  await run(store.survived(first))
  expect(await rowOf(id)).toMatchObject({ status: "processing", epoch: 2, crashes: 0 })
  // Never below none, and not of a job that is over.
  await run(store.survived(first))
  await run(store.fail(second, "over"))
  expect(await rowOf(id)).toMatchObject({ status: "failed", crashes: 0 })
})

test("an export that waits shows since when, starts anew without losing its percentage, and shows it no longer when it goes on", async () => {
  const id = await created()
  const job = await claimed(id)
  const behind = await created()
  await run(store.progress(job, { processedRows: 60, totalRows: 100 }))
  const since = new Date("2026-01-02T03:04:05.678Z")
  await run(store.wait(job, since))
  expect(await rowOf(id)).toMatchObject({ status: "processing", rows: 0, percentage: 60, since })
  expect((await run(store.get(id))).waitingSince).toEqual(since)
  // So does one in the queue behind it.
  expect((await run(store.get(behind))).waitingSince).toEqual(since)
  await run(store.reached(job))
  for (const each of [id, behind]) expect((await run(store.get(each))).waitingSince).toBeNull()
})

test("what ends a wait ends it for good: a release, a failure, a cancellation", async () => {
  const since = new Date()
  for (const end of ["release", "fail", "cancel"] as const) {
    const id = await created()
    const job = await claimed(id)
    await run(store.wait(job, since))
    if (end === "release") await run(store.release(job, false))
    else if (end === "fail") await run(store.fail(job, "the end"))
    else await run(store.cancel(id))
    expect({ end, waitingSince: (await run(store.get(id))).waitingSince }).toEqual({ end, waitingSince: null })
    if (end !== "release") await loses(store.wait(job, since))
  }
})

test("cancelling takes the delivery out of the queue, in the same statement", async () => {
  const [kept, gone] = [await created(), await created()]
  expect(await run(store.cancel(gone))).toBe(true)
  const left = await sql`select id from sluice_queue.job where id in ${sql([kept, gone])}`
  expect(left.map((row) => row["id"])).toEqual([kept])
  expect(await run(store.cancel(gone))).toBe(false)
})

test("an attempt after one that waited knows since when, also after a release", async () => {
  const since = new Date("2026-01-02T03:04:05.678Z")
  const id = await created()
  const first = await claimed(id)
  expect(first.waitingSince).toBeNull()
  await run(store.wait(first, since))
  const second = await claimed(id)
  expect(second.waitingSince).toEqual(since)
  await run(store.release(second, false))
  const third = await claimed(id)
  expect(third.waitingSince).toEqual(since)
  await run(store.reached(third))
  expect((await claimed(id)).waitingSince).toBeNull()
})

test("a completed export has the limit that cut its file, and none if no limit did", async () => {
  for (const truncatedBy of ["maxRows", undefined] as const) {
    const id = await created()
    const job = await claimed(id)
    expect((await run(store.get(id))).truncatedBy).toBeNull()
    await run(store.complete(job, { bytes: 10, crc32: "00000000", rows: 1, truncatedBy }))
    expect((await run(store.get(id))).truncatedBy).toBe(truncatedBy ?? null)
  }
})
