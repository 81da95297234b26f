/** What an estimate's figures rest on: sums over earlier exports. */
import { beforeEach, expect, test } from "bun:test"
import { Effect } from "effect"
import { limits } from "../../src/limits.ts"
import { specOf } from "../support/datasets.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

const run = Effect.runPromise
let { sql, store, queue }: Jobs = {} as Jobs
beforeEach(async () => {
  if (!store) ({ sql, store, queue } = await startJobs())
  await sql`delete from sluice.exports`
})

/** An export that took two seconds. */
const exported = async (spec: ReturnType<typeof specOf>, rows: number, bytes: number) => {
  const id = await run(store.create(spec, queue.enqueue))
  const job = (await run(store.claim(id)))!
  await run(store.complete(job, { bytes, crc32: "00000000", rows }))
  await sql`update sluice.exports set started_at = completed_at - interval '2 seconds' where id = ${id}`
  return id
}
const statistics = async (spec = specOf()) => Object.fromEntries(await run(store.exportStatistics(spec)))

test("without earlier exports there are none", async () => {
  expect(await statistics()).toEqual({})
})

test("exports of the same columns in the same format are summed up apart from all of the dataset", async () => {
  await exported(specOf(), 10, 1_000)
  await exported(specOf({ country_code: "US" }), 5, 400)
  await exported(specOf({ columns: "id" }), 100, 300)
  await exported(specOf({ delimiter: ";" }), 1, 100)
  expect(await statistics()).toEqual({
    same: { exports: 2, rows: 15, bytes: 1_400, seconds: 4 },
    any: { exports: 4, rows: 116, bytes: 1_800, seconds: 8 }
  })
  expect(await statistics(specOf({ columns: "name" }))).toEqual({ any: { exports: 4, rows: 116, bytes: 1_800, seconds: 8 } })
})

test("only exports that have a file, or had one, with rows, count", async () => {
  await exported(specOf(), 0, 50)
  const [failed, expired] = [await exported(specOf(), 7, 70), await exported(specOf(), 3, 30)]
  await sql`update sluice.exports set status = 'failed' where id = ${failed}`
  await run(store.expire(expired))
  await run(store.create(specOf(), queue.enqueue))
  expect(await statistics()).toMatchObject({ any: { exports: 1, rows: 3 } })
})

test("no more than the last exports count", async () => {
  for (let rows = 1; rows <= limits.estimateExports + 2; rows++) await exported(specOf(), rows, 10)
  const last = Array.from({ length: limits.estimateExports }, (_, at) => at + 3)
  expect(await statistics()).toMatchObject({
    same: { exports: limits.estimateExports, rows: last.reduce((sum, rows) => sum + rows, 0) }
  })
})
