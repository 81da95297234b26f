/**
 * A source that is away while jobs run and wait. `OUTAGE_SECONDS` is the length of an outage, `OUTAGE_JOBS` the number of
 * jobs and `OUTAGE_ROWS` their size; `OUTAGE_LIMIT` is the SOURCE_OUTAGE, in seconds, that one outage exceeds.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { crc32 } from "node:zlib"
import { copyCsv, createExport, download, reaches, statusOf } from "../support/client.ts"
import { shortLimits } from "../support/limits.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, temporaryDirectory } from "../support/shared-service.ts"
import { sourceServer, type SourceServer } from "../support/source-server.ts"
import { makeUsersLarge, sourceBackends, terminateSource } from "../support/source.ts"
import { until } from "../support/until.ts"

const SECONDS = Number(process.env["OUTAGE_SECONDS"] ?? 1)
const JOBS = Number(process.env["OUTAGE_JOBS"] ?? 3)
const ROWS = Number(process.env["OUTAGE_ROWS"] ?? 200_000)
const OUTAGE_LIMIT = Number(process.env["OUTAGE_LIMIT"] ?? 2)
const LIMIT_MS = (SECONDS + 60) * 1000
setDefaultTimeout(4 * LIMIT_MS)

let source: SourceServer
let service: Service
let crc: string
const logged = (asked: Service, text: string) => asked.log().filter(({ message }) => String(message).includes(text))

/** Waits until the outage has lasted for `OUTAGE_SECONDS`. */
const lasts = async () => {
  const begun = performance.now()
  await until("the outage to last", () => performance.now() - begun > SECONDS * 1000, LIMIT_MS)
}
const create = (asked: Service, count: number) => Promise.all(Array.from({ length: count }, () => createExport(asked)))
/** Waits for the exports to be completed, and compares their bytes with what COPY writes. */
const expectComplete = async (ids: ReadonlyArray<string>, asked = service) => {
  for (const id of ids) {
    const { progress, waiting } = await reaches(asked, id, "completed", LIMIT_MS)
    expect({ progress, waiting }).toEqual({
      progress: { totalRows: ROWS, totalRowsExact: true, processedRows: ROWS, percentage: 100 },
      waiting: null
    })
    expect(
      crc32(await download(asked, id))
        .toString(16)
        .padStart(8, "0")
    ).toBe(crc)
  }
}

beforeAll(async () => {
  source = await sourceServer()
  await source.start()
  await makeUsersLarge(source.url, ROWS)
  service = await startService({ SOURCE_DATABASE_URL: source.url, MAX_CONCURRENT_EXPORTS: String(JOBS) })
  crc = crc32(await copyCsv({ ...service, database: source.url }, "select * from users"))
    .toString(16)
    .padStart(8, "0")
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

test("jobs that run and jobs that are posted while the source is stopped all complete, and say what they wait for", async () => {
  const running = await create(service, JOBS)
  await until("them to run", async () => (await sourceBackends(source.url)).length >= JOBS)
  const before = new Map<string, number>()
  for (const id of running) before.set(id, (await statusOf(service, id)).progress.percentage)
  await source.stop()
  // A job is accepted although the source cannot check the values of its filter.
  const filtered = await createExport(service, "?id=gte.-5&signup_date=gt.1970-01-01")
  const wrong = await createExport(service, "?id=gte.none")
  const posted = [...(await create(service, JOBS - 1)), filtered]
  for (const id of [...running, ...posted]) {
    const { waiting, progress, error, status } = await until("the export to say what it waits for", async () => {
      const document = await statusOf(service, id)
      return document.waiting !== null && document
    })
    expect(waiting).toMatch(/^the source database cannot be reached since \d{4}-\d\d-\d\dT[\d:.]+Z$/)
    expect({ error, status }).toEqual({ error: null, status: running.includes(id) ? "processing" : "pending" })
    expect(progress.percentage).toBeGreaterThanOrEqual(before.get(id) ?? 0)
  }
  expect((await fetch(`${service.url}/exports/csv`)).status).toBe(503)
  await lasts()
  await source.start()
  await expectComplete([...running, ...posted])
  expect((await reaches(service, wrong, "failed")).error).toContain("invalid input syntax")
  // The outage counts neither as an attempt nor as a failure.
  expect(logged(service, "will be tried again")).toEqual([])
  expect(logged(service, "export started").map(({ annotations }) => annotations["attempt"])).not.toContain(2)
  // There is a line at the beginning, and one for each minute.
  const lines = logged(service, "the source database cannot be reached").length
  expect(lines).toBeGreaterThanOrEqual(1)
  expect(lines).toBeLessThanOrEqual(1 + Math.ceil(SECONDS / 60 - 0.1))
  expect(logged(service, "the source database is reached again").length).toBe(1)
})

test("jobs also wait for a source whose connections are all in use", async () => {
  const free = await source.fill()
  const ids = await create(service, 2 * JOBS)
  for (const id of ids)
    await until("the export to say what it waits for", async () => (await statusOf(service, id)).waiting !== null)
  await lasts()
  await free()
  await expectComplete(ids)
})

test("a service that stops and another that starts during the outage leave the jobs waiting", async () => {
  const settings = { SOURCE_DATABASE_URL: source.url, DATABASE_URL: await freshDatabase(), MAX_CONCURRENT_EXPORTS: "1" }
  const storage = { EXPORT_STORAGE_PATH: await temporaryDirectory() }
  const first = await startService({ ...settings, ...storage }, { limits: shortLimits })
  await source.stop()
  const ids = await create(first, 2)
  const areWaiting = async (asked: Service) => {
    for (const id of ids)
      await until("the export to say what it waits for", async () => (await statusOf(asked, id)).waiting !== null)
  }
  await areWaiting(first)
  expect(await first.stop()).toBe(0)
  const second = await startService({ ...settings, ...storage })
  await areWaiting(second)
  await lasts()
  expect(logged(second, "will be tried again")).toEqual([])
  await source.start()
  await expectComplete(ids, second)
  const sql = await connect(settings.DATABASE_URL, 1)
  for (const row of await sql`select crashes, failures from sluice.exports`) expect(row).toEqual({ crashes: 0, failures: 0 })
  expect(await second.stop()).toBe(0)
})

test("a source that is lost again and again fails the export in the end", async () => {
  await makeUsersLarge(source.url, 100_000_000)
  const id = await createExport(service)
  const { error, progress } = await until(
    "the export to fail",
    async () => {
      const document = await statusOf(service, id)
      if (document.status === "failed") return document
      if (document.progress.processedRows > 0) await terminateSource(source.url)
      return undefined
    },
    LIMIT_MS
  )
  expect(error).toBe("The source database was lost 10 times while the export was read")
  expect(progress.percentage).toBeLessThan(100)
  await makeUsersLarge(source.url, ROWS)
})

describe("an outage longer than SOURCE_OUTAGE", () => {
  let impatient: Service
  beforeAll(async () => {
    impatient = await startService({
      SOURCE_DATABASE_URL: source.url,
      SOURCE_OUTAGE: `${OUTAGE_LIMIT} seconds`,
      MAX_CONCURRENT_EXPORTS: "1"
    })
  })
  afterAll(async () => {
    expect(await impatient.stop()).toBe(0)
  })

  test("fails all exports at the same time, with a sentence", async () => {
    await source.stop()
    const begun = performance.now()
    const ids = await create(impatient, 10)
    for (const id of ids) {
      const { error, waiting } = await reaches(impatient, id, "failed", LIMIT_MS)
      expect(waiting).toBeNull()
      const [, seconds] = /^The source database could not be reached for (\d+) seconds$/.exec(error!) ?? []
      expect(Number(seconds)).toBeGreaterThanOrEqual(OUTAGE_LIMIT)
    }
    expect(performance.now() - begun).toBeLessThan(2_000 * OUTAGE_LIMIT + 6_000)
    expect(logged(impatient, "could not be reached for SOURCE_OUTAGE").length).toBe(10)
    await source.start()
    await reaches(impatient, await createExport(impatient), "completed")
  })
})
