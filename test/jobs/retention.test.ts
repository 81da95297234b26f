/** What the sweeper does to rows: exports that the queue has given up, that are past their time, and of long ago. */
import { beforeAll, expect, test } from "bun:test"
import { Effect } from "effect"
import { limits } from "../../src/limits.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

const run = Effect.runPromise
let { sql, store, created, claimed }: Jobs = {} as Jobs
beforeAll(async () => {
  ;({ sql, store, created, claimed } = await startJobs())
})

const age = (id: string, interval: string) =>
  sql`update sluice.exports set created_at = now() - ${interval}::interval where id = ${id}`
const giveUp = (id: string) => sql`update sluice_queue.job set state = 'failed' where id = ${id}`

test("an unfinished export that the queue will not deliver again fails, with a sentence that says what to do", async () => {
  const [pending, running, gone] = [await created(), await created(), await created()]
  await claimed(running)
  for (const id of [pending, running]) await giveUp(id)
  await sql`delete from sluice_queue.job where id = ${gone}`
  for (const id of [pending, running, gone]) await age(id, "2 minutes")
  expect((await run(store.failAbandoned)).toSorted()).toEqual([pending, running, gone].toSorted())
  for (const id of [pending, running, gone]) {
    const { status, error, completedAt } = await run(store.get(id))
    expect(status).toBe("failed")
    expect(error).toBe("Cannot finish the export: the service stopped too often while it ran. Create it again.")
    expect(completedAt).not.toBeNull()
  }
  expect(await run(store.failAbandoned)).toEqual([])
})

test("an export that the queue may still deliver, that is a minute old at most, or that is finished, is not given up", async () => {
  const [delivered, retried, fresh, completed] = [await created(), await created(), await created(), await created()]
  await sql`update sluice_queue.job set state = 'retry' where id = ${retried}`
  for (const id of [fresh, completed]) await giveUp(id)
  await run(store.complete(await claimed(completed), { bytes: 1, crc32: "00000000", rows: 1 }))
  for (const id of [delivered, retried, completed]) await age(id, "1 hour")
  expect(await run(store.failAbandoned)).toEqual([])
  expect((await run(store.get(completed))).status).toBe("completed")
})

test("a completed export expires when its time is over, and not before", async () => {
  const [due, kept] = [await created(), await created()]
  for (const id of [due, kept]) await run(store.complete(await claimed(id), { bytes: 1, crc32: "00000000", rows: 1 }))
  await sql`update sluice.exports set expires_at = now() where id = ${due}`
  expect(await run(store.expireDue)).toEqual([due])
  expect((await run(store.get(due))).status).toBe("expired")
  expect((await run(store.get(kept))).status).toBe("completed")
})

test("rows of finished exports are deleted when their files have been gone for the days of history, others never", async () => {
  await sql`delete from sluice.exports`
  const old = `${limits.historyDays} days 1 minute`
  const statuses = ["pending", "processing", "completed", "failed", "cancelled", "expired"]
  for (const status of statuses) {
    const [past, recent] = [await created(), await created()]
    await sql`update sluice.exports set status = ${status}, completed_at = now() - ${old}::interval,
      expires_at = case when ${status} = 'expired' then now() - ${old}::interval end where id = ${past}`
    await sql`update sluice.exports set status = ${status}, completed_at = now() - interval '6 days' where id = ${recent}`
  }
  // Its file was there until yesterday.
  const lately = await created()
  await sql`update sluice.exports set status = 'expired', completed_at = now() - ${old}::interval,
    expires_at = now() - interval '1 day' where id = ${lately}`
  expect(await run(store.deleteOldExports)).toBe(3)
  const left = await sql`select status, count(*)::int as count from sluice.exports group by 1 order by 1`
  expect(Object.fromEntries(left.map(({ status, count }) => [status, count]))).toEqual({
    pending: 2,
    processing: 2,
    completed: 2,
    failed: 1,
    cancelled: 1,
    expired: 2
  })
})
