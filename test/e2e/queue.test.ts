/**
 * Many exports at once: how quickly a backlog is worked off, what cancelled exports cost, and how many may wait.
 * `QUEUE_JOBS` and `QUEUE_CANCELLED` are the numbers of exports.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { createExport, reaches, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

const JOBS = Number(process.env["QUEUE_JOBS"] ?? 40)
const CANCELLED = Number(process.env["QUEUE_CANCELLED"] ?? 100)
/** The default of MAX_CONCURRENT_EXPORTS. */
const WORKERS = 3
setDefaultTimeout(600_000)

/** Takes a lock, so that no export of `users` begins until it is released. */
const lockUsers = async (database: string) => {
  const sql = await connect(database, 1)
  await sql.unsafe("begin; lock table public.users in access exclusive mode")
  return () => sql.unsafe("rollback")
}
const remove = async ({ url }: Service, id: string) => {
  expect((await fetch(`${url}/exports/${id}`, { method: "DELETE" })).status).toBe(204)
}

describe("a backlog", () => {
  let service: Service
  let sql: postgres.Sql
  const deliveries = async () => {
    const [row] = await sql`select count(*)::int as waiting from sluice_queue.job where state in ('created', 'retry', 'active')`
    return row!["waiting"] as number
  }
  beforeAll(async () => {
    const database = await freshDatabase()
    sql = await connect(database, 1)
    // These are rows for hours, which cost nothing.
    await sql.unsafe("create view public.slow as select n, pg_sleep(0.1)::text as slept from generate_series(1, 1000000) n")
    service = await startService({ DATABASE_URL: database, EXPORT_DATASETS: "public.users,public.slow" })
  })
  afterAll(async () => {
    expect(await service.stop()).toBe(0)
  })

  test("of small exports is worked off without waiting for the next poll", async () => {
    const begun = performance.now()
    await Promise.all(Array.from({ length: JOBS }, () => createExport(service, "?dataset=users&total=100")))
    await until(
      "all to be completed",
      async () => {
        const [row] = await sql`select count(*)::int as unfinished from sluice.exports where status <> 'completed'`
        return row!["unfinished"] === 0
      },
      60_000
    )
    const seconds = (performance.now() - begun) / 1000
    if (process.env["QUEUE_JOBS"] !== undefined) console.log(`${JOBS} jobs of 100 rows: ${seconds.toFixed(1)} s`)
    expect(seconds).toBeLessThan(8)
  })

  test("of cancelled exports does not delay other exports", async () => {
    const running = await Promise.all(Array.from({ length: WORKERS }, () => createExport(service, "?dataset=slow")))
    for (const id of running) await reaches(service, id, "processing")
    for (let created = 0; created < CANCELLED; created += 50) {
      const ids = await Promise.all(
        Array.from({ length: Math.min(50, CANCELLED - created) }, () => createExport(service, "?dataset=slow"))
      )
      await Promise.all(ids.map((id) => remove(service, id)))
    }
    expect(await deliveries()).toBe(running.length)
    const next = await createExport(service, "?dataset=users&total=100")
    for (const id of running) await remove(service, id)
    const begun = performance.now()
    await reaches(service, next, "completed")
    const seconds = (performance.now() - begun) / 1000
    if (process.env["QUEUE_CANCELLED"] !== undefined) console.log(`after ${CANCELLED} cancelled ones: ${seconds.toFixed(1)} s`)
    expect(seconds).toBeLessThan(8)
    // The export is completed a moment before its delivery.
    await until("no delivery to be left", async () => (await deliveries()) === 0)
  })
})

test("an export beyond QUEUE_LIMIT unfinished ones is refused until one of them has ended", async () => {
  const service = await startService({ QUEUE_LIMIT: "3" })
  const unlock = await lockUsers(service.database)
  const [first] = [await createExport(service), await createExport(service), await createExport(service)]
  const refused = await fetch(`${service.url}/exports/csv`, { method: "POST" })
  const { detail, title } = (await refused.json()) as ProblemDocument
  expect({ status: refused.status, retryAfter: refused.headers.get("Retry-After"), detail, title }).toEqual({
    status: 429,
    retryAfter: expect.stringMatching(/^[1-9]\d*$/),
    detail: "There are 3 unfinished exports already, which is the most; try again when one of them has ended",
    title: "Too Many Requests"
  })
  const sql = await connect(service.database, 1)
  const [row] = await sql`select (select count(*) from sluice.exports)::int as exports, count(*)::int as deliveries
    from sluice_queue.job where name = 'exports'`
  expect(row).toEqual({ exports: 3, deliveries: 3 })
  await remove(service, first)
  const fourth = await createExport(service)
  await unlock()
  await reaches(service, fourth, "completed")
  expect(await service.stop()).toBe(0)
})
