/**
 * Attempts that nobody ends: the process dies while it runs a job, or its own database is away. `CRASHES` says how many of
 * the five crashes are real here, and `APP_OUTAGE_SECONDS` how long the database is away.
 */
import { expect, setDefaultTimeout, test } from "bun:test"
import { createExport, reaches, statusOf } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, temporaryDirectory } from "../support/shared-service.ts"
import { sourceServer } from "../support/source-server.ts"
import { makeUsersLarge, sourceIsLeft } from "../support/source.ts"
import { until } from "../support/until.ts"

const LIMIT = 5
const CRASHES = Number(process.env["CRASHES"] ?? 1)
const SECONDS = Number(process.env["APP_OUTAGE_SECONDS"] ?? 1)
/** A dead process is noticed soon. */
const soon = { limits: { queueSuperviseSeconds: 1 } }
setDefaultTimeout(600_000)

const isReading = (service: Service, id: string) =>
  until("the export to be read", async () => (await statusOf(service, id)).progress.processedRows > 0, 60_000)

test("a job whose process dies 5 times fails, and is not run a sixth time", async () => {
  const database = await freshDatabase()
  await makeUsersLarge(database, 100_000_000)
  const sql = await connect(database, 1)
  const settings = { DATABASE_URL: database, EXPORT_STORAGE_PATH: await temporaryDirectory() }
  let service = await startService(settings, soon)
  const id = await createExport(service)
  for (let crash = 1; crash <= CRASHES; crash++) {
    await isReading(service, id)
    expect([...(await sql`select status, crashes from sluice.exports`)]).toEqual([{ status: "processing", crashes: crash - 1 }])
    service.signal("SIGKILL")
    await service.exited
    await sourceIsLeft(database)
    // The last heartbeat was so long ago that the queue takes the worker for dead.
    await sql`update sluice_queue.job set heartbeat_on = heartbeat_on - interval '1 minute' where id = ${id}`
    if (crash === CRASHES) await sql`update sluice.exports set crashes = ${LIMIT - 1}`
    service = await startService(settings, soon)
  }
  const { error, progress } = await reaches(service, id, "failed")
  expect(error).toBe("The service ended unexpectedly 5 times while it ran this export")
  expect(progress.percentage).toBeLessThan(100)
  await sourceIsLeft(database)
  expect(service.log().filter(({ message }) => message === "export started")).toEqual([])
  expect(await service.stop()).toBe(0)
})

test("an outage of the app database counts as no crash, and is logged when it begins and when it ends", async () => {
  const app = await sourceServer()
  await app.start()
  const source = await freshDatabase()
  const owner = await connect(source, 1)
  // The export is read for longer than the outage lasts.
  const rows = (SECONDS + 2) * 100
  await owner.unsafe(`create view public.slow as select n, pg_sleep(0.01)::text as slept from generate_series(1, ${rows}) n`)
  const service = await startService({ DATABASE_URL: app.url, SOURCE_DATABASE_URL: source, EXPORT_DATASETS: "public.slow" }, soon)
  const id = await createExport(service, "?dataset=slow")
  await isReading(service, id)
  await app.stop()
  const begun = performance.now()
  await until("the outage to last", () => performance.now() - begun > SECONDS * 1000, 600_000)
  await app.start()
  const { progress } = await reaches(service, id, "completed", 120_000)
  expect(progress.processedRows).toBe(rows)
  const sql = await connect(app.url, 1)
  expect([...(await sql`select crashes, failures from sluice.exports`)]).toEqual([{ crashes: 0, failures: 0 }])
  const messages = service.log().map(({ message }) => String(message))
  await until("the end of the outage to be logged", () =>
    service.log().some(({ message }) => String(message).startsWith("the queue's database is reached again, after "))
  )
  // There is a line at the beginning, and one for each minute.
  const lines = messages.filter((message) => message.startsWith("the queue's database cannot be reached")).length
  expect(lines).toBeGreaterThanOrEqual(1)
  expect(lines).toBeLessThanOrEqual(1 + Math.ceil(SECONDS / 60 - 0.1))
  expect(await service.stop()).toBe(0)
})
