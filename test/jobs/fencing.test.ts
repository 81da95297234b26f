/**
 * The fence: every write of an attempt names its epoch, and changes nothing once a later attempt has the job. Each verb of
 * the store is called from each status, by the last attempt and by one before it.
 */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Either } from "effect"
import type { ExportStatus } from "../../src/exports/export-job.ts"
import { LeaseLost, type ClaimedJob } from "../../src/jobs/store/commands.ts"
import { createExport, download, reaches, statusOf } from "../support/client.ts"
import { startService, storedFiles } from "../support/service.ts"
import { connect, freshDatabase, temporaryDirectory } from "../support/shared-service.ts"
import { sourceWaits } from "../support/source.ts"
import { until } from "../support/until.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

setDefaultTimeout(60_000)

const statuses: ReadonlyArray<ExportStatus> = ["pending", "processing", "completed", "failed", "cancelled", "expired"]
const EPOCH = 2

let jobs: Jobs
beforeAll(async () => {
  jobs = await startJobs()
})

/** An export in a status after `EPOCH` attempts, and its last attempt. */
const inStatus = async (status: ExportStatus): Promise<ClaimedJob> => {
  const id = await jobs.created()
  const job = await jobs.claimed(id)
  await jobs.sql`update sluice.exports set status = ${status}, epoch = ${EPOCH} where id = ${id}`
  return { ...job, epoch: EPOCH }
}
/** The whole row as text. */
const rowOf = async ({ id }: ClaimedJob) => {
  const [row] = await jobs.sql`select e::text as text, status, epoch from sluice.exports e where id = ${id}`
  return row as { readonly text: string; readonly status: ExportStatus; readonly epoch: number }
}

/** The status after a verb, from each status that allows it. */
type Outcomes = Readonly<Partial<Record<ExportStatus, ExportStatus>>>
const RUNNING: Outcomes = { processing: "processing" }

/** The verbs of an attempt: all of them but `damage` fail with LeaseLost when they change nothing. */
const fenced: ReadonlyArray<readonly [string, Outcomes, (job: ClaimedJob) => Effect.Effect<unknown, unknown>]> = [
  ["confirm", RUNNING, (job) => jobs.store.confirm(job)],
  ["progress", RUNNING, (job) => jobs.store.progress(job, { processedRows: 5, totalRows: 10 })],
  ["wait", RUNNING, (job) => jobs.store.wait(job, new Date(0))],
  ["reached", RUNNING, (job) => jobs.store.reached(job)],
  // A second call may follow one whose answer was lost.
  [
    "complete",
    { processing: "completed", completed: "completed" },
    (job) => jobs.store.complete(job, { bytes: 1, crc32: "00000000", rows: 1 })
  ],
  ["release", { processing: "pending", pending: "pending" }, (job) => jobs.store.release(job, true)],
  ["fail", { pending: "failed", processing: "failed" }, (job) => jobs.store.fail(job, "it failed")],
  ["damage", { completed: "failed" }, (job) => jobs.store.damage(job, "it was changed")]
]

/** The verbs of anybody: a new attempt, a request, the sweeper. */
const unfenced: ReadonlyArray<readonly [string, Outcomes, (job: ClaimedJob) => Effect.Effect<unknown, unknown>]> = [
  ["claim", { pending: "processing", processing: "processing" }, ({ id }) => jobs.store.claim(id)],
  ["cancel", { pending: "cancelled", processing: "cancelled" }, ({ id }) => jobs.store.cancel(id)],
  ["expire", { completed: "expired" }, ({ id }) => jobs.store.expire(id)]
]

const call = (verb: Effect.Effect<unknown, unknown>) => Effect.runPromise(Effect.either(verb))
const isLeaseLost = (result: Either.Either<unknown, unknown>) => Either.isLeft(result) && result.left instanceof LeaseLost

describe.each(fenced)("%s", (verb, outcomes, write) => {
  test.each(statuses)("by the last attempt of an export that is %s", async (status) => {
    const job = await inStatus(status)
    const before = await rowOf(job)
    const result = await call(write(job))
    const after = await rowOf(job)
    const expected = outcomes[status]
    expect(after.status).toBe(expected ?? status)
    if (expected === undefined) expect(after).toEqual(before)
    expect(isLeaseLost(result)).toBe(expected === undefined && verb !== "damage")
  })

  test.each(statuses)("by an attempt before the last one changes nothing in an export that is %s", async (status) => {
    const job = await inStatus(status)
    const before = await rowOf(job)
    const result = await call(write({ ...job, epoch: EPOCH - 1 }))
    expect(await rowOf(job)).toEqual(before)
    expect(isLeaseLost(result)).toBe(verb !== "damage")
  })
})

describe.each(unfenced)("%s", (verb, outcomes, write) => {
  test.each(statuses)("of an export that is %s", async (status) => {
    const job = await inStatus(status)
    const before = await rowOf(job)
    await call(write(job))
    const after = await rowOf(job)
    const expected = outcomes[status]
    if (expected === undefined) expect(after).toEqual(before)
    else expect(after).toMatchObject({ status: expected, epoch: verb === "claim" ? EPOCH + 1 : EPOCH })
  })
})

test("an attempt that a later one has overtaken changes nothing, and its file is never served", async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 1)
  const env = { DATABASE_URL: database, EXPORT_STORAGE_PATH: await temporaryDirectory() }
  const first = await startService(env)
  const locker = await sql.reserve()
  await locker`begin`
  await locker`lock table public.users`
  const id = await createExport(first)
  await reaches(first, id, "processing")
  await sourceWaits(database)
  // Its process stands still while the attempt waits for the table, and is taken for dead.
  first.signal("SIGSTOP")
  await locker`rollback`
  locker.release()
  await sql`update sluice_queue.job set heartbeat_on = heartbeat_on - interval '1 minute' where id = ${id}`
  const second = await startService(env, { limits: { queueSuperviseSeconds: 1 } })
  const completed = await reaches(second, id, "completed")
  const file = await download(second, id)

  // What the first attempt reads from now on is not what was served.
  await sql`insert into public.users select 0, name, email, signup_date, country_code, subscription_tier, lifetime_value
    from public.users where id = 1`
  first.signal("SIGCONT")
  // Its next write finds no row, unless the queue reports first that the delivery is another worker's.
  await until("the first attempt to stop", () =>
    first.log().some(({ message }) => String(message).startsWith("export stopped: "))
  )
  expect(await statusOf(second, id)).toEqual(completed)
  for (const service of [first, second]) {
    const served = await download(service, id)
    expect(served.equals(file)).toBe(true)
    expect(Bun.hash.crc32(served).toString(16).padStart(8, "0")).toBe(completed.crc32!)
  }
  await until("its file to be removed", async () => (await storedFiles(env.EXPORT_STORAGE_PATH)).length === 1)
  expect(await storedFiles(env.EXPORT_STORAGE_PATH)).toEqual([expect.stringMatching(new RegExp(`^${id}\\.2`))])
  expect(first.log().filter(({ message }) => message === "export completed")).toEqual([])
  for (const service of [first, second]) expect(await service.stop()).toBe(0)
})
