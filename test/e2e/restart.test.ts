import { afterAll, expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import { copyCsv, createExport, download, isComplete, reaches, statusOf } from "../support/client.ts"
import { shortLimits } from "../support/limits.ts"
import { startService, storedFiles, type Service } from "../support/service.ts"
import { connect, freshDatabase, startServer, temporaryDirectory } from "../support/shared-service.ts"
import { makeUsersLarge, sourceIsBusy } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(90_000)

const ROWS = 500_000
const scope = Effect.runSync(Scope.make())
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const hasProgress = (service: Service, id: string) =>
  until("the export to make progress", async () => (await statusOf(service, id)).progress.percentage > 5)

test("a running job and an idle service go on by themselves after PostgreSQL restarts", async () => {
  const directory = await temporaryDirectory()
  const database = await Effect.runPromise(Scope.extend(startServer(directory), scope))
  await makeUsersLarge(database, ROWS)
  const service = await startService({ DATABASE_URL: database })
  const restart = async () => {
    const before = await readFile(join(directory, "postgres/postmaster.pid"), "utf8")
    process.kill(Number.parseInt(before), "SIGINT")
    await until("the service to notice", async () => (await fetch(`${service.url}/ready`)).status === 503)
    expect((await fetch(`${service.url}/health`)).status).toBe(200)
    await until("the service to be ready again", async () => (await fetch(`${service.url}/ready`)).status === 200)
  }
  const id = await createExport(service)
  await sourceIsBusy(database)
  await hasProgress(service, id)
  await restart()
  const { progress } = await reaches(service, id, "completed", 50_000)
  expect(progress.processedRows).toBe(ROWS)

  await restart()
  const second = await createExport(service, "?total=1000")
  await reaches(service, second, "completed")
  // A cancellation arrives over the listening connection, which had to be opened anew.
  const third = await createExport(service)
  await hasProgress(service, third)
  const begun = performance.now()
  expect((await fetch(`${service.url}/exports/${third}`, { method: "DELETE" })).status).toBe(204)
  await until(
    "its file to be gone",
    async () => !(await storedFiles(service.storage)).some((name) => name.startsWith(third)),
    1_000
  )
  expect(performance.now() - begun).toBeLessThan(1_000)
  expect(await service.stop()).toBe(0)
})

test("a job is completed by the next service after SIGKILL, and no file of the first attempt is left", async () => {
  const database = await freshDatabase()
  await makeUsersLarge(database, ROWS)
  const storage = await temporaryDirectory()
  const first = await startService({ DATABASE_URL: database, EXPORT_STORAGE_PATH: storage })
  const id = await createExport(first)
  await sourceIsBusy(database)
  await hasProgress(first, id)
  const atDeath = (await statusOf(first, id)).progress.percentage
  first.signal("SIGKILL")
  await first.exited
  // The last heartbeat was so long ago that the queue takes the worker for dead.
  const sql = await connect(database, 1)
  await sql`update sluice_queue.job set heartbeat_on = heartbeat_on - interval '1 minute' where id = ${id}`

  const second = await startService(
    { DATABASE_URL: database, EXPORT_STORAGE_PATH: storage },
    { limits: { queueSuperviseSeconds: 1 } }
  )
  expect((await statusOf(second, id)).progress.percentage).toBeGreaterThanOrEqual(atDeath)
  const { progress } = await reaches(second, id, "completed", 50_000)
  expect(progress).toEqual({ totalRows: ROWS, totalRowsExact: true, processedRows: ROWS, percentage: 100 })
  const file = await download(second, id)
  expect(file.equals(await copyCsv(second, "select * from public.users"))).toBe(true)
  expect(await storedFiles(storage)).toEqual([`${id}.2`])
  expect(await second.stop()).toBe(0)
})

test("SIGTERM gives a running job back to the next service at once, and a stream may end in the time of the drain", async () => {
  const database = await freshDatabase()
  const storage = await temporaryDirectory()
  const env = { DATABASE_URL: database, EXPORT_STORAGE_PATH: storage }
  const first = await startService(env)
  const stream = await fetch(`${first.url}/api/v1/exports/csv?total=40000`)
  first.signal("SIGTERM")
  expect((await stream.text()).split("\n").length).toBe(40_002)
  expect(await first.exited).toBe(0)

  await makeUsersLarge(database, 20_000_000)
  const second = await startService(env, { limits: shortLimits })
  const id = await createExport(second)
  await hasProgress(second, id)
  second.signal("SIGTERM")
  expect(await second.exited).toBe(0)
  await makeUsersLarge(database, 1_000)
  const third = await startService(env)
  await reaches(third, id, "completed")
  const sql = await connect(database, 1)
  expect([...(await sql`select epoch, crashes, failures from sluice.exports`)]).toEqual([{ epoch: 2, crashes: 0, failures: 0 }])
  expect(await storedFiles(storage)).toEqual([`${id}.2`])
  expect(await third.stop()).toBe(0)
})

test("a second signal ends the service at once", async () => {
  const service = await startService()
  await makeUsersLarge(service.database, 100_000_000)
  await createExport(service)
  await sourceIsBusy(service.database)
  service.signal("SIGTERM")
  await until("the drain to begin", () => service.log().some(({ message }) => String(message).startsWith("stopping")))
  // The pause is longer than that within which two signals count as one that was sent twice.
  const begun = performance.now()
  await until("the pause in which two signals count as one", () => performance.now() - begun > 400)
  service.signal("SIGTERM")
  expect(await service.exited).toBe(1)
})

test("a stream is incomplete after SIGKILL of its service", async () => {
  const service = await startService()
  await makeUsersLarge(service.database, 100_000_000)
  const response = await fetch(`${service.url}/api/v1/exports/csv`)
  service.signal("SIGKILL")
  expect(await isComplete(response.arrayBuffer())).toBe(false)
  await service.exited
})
