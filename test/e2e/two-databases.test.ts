/** A source on another server than the app database, and what /ready says when one of them, or the storage, is away. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { Effect, Exit, Scope } from "effect"
import { copyCsv, createExport, download, reaches, statusOf } from "../support/client.ts"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, startServer, temporaryDirectory } from "../support/shared-service.ts"
import { makeUsersLarge, sourceBackends, sourceIsBusy } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

const ROWS = 1_234
const scope = Effect.runSync(Scope.make())
const stopServer = () => Effect.runPromise(Scope.close(scope, Exit.void))

/** A database on a server of its own, with a table of the same name and other rows than the databases of the other server. */
let elsewhere: string
/** A service whose source is on that server, and its app database on the shared one. */
let reader: Service
/** A service whose app database is on that server, and its source on the shared one. */
let keeper: Service
beforeAll(async () => {
  const directory = await temporaryDirectory()
  elsewhere = await Effect.runPromise(Scope.extend(startServer(directory), scope))
  await makeUsersLarge(elsewhere, ROWS)
  reader = await startService({ SOURCE_DATABASE_URL: elsewhere })
})
afterAll(stopServer)

describe("a source on another server", () => {
  let expected: Buffer
  beforeAll(async () => {
    expected = await copyCsv({ ...reader, database: elsewhere }, "select * from users")
    expect(expected.toString().split("\n")).toHaveLength(ROWS + 2)
  })
  test("is where a job reads", async () => {
    const id = await createExport(reader)
    const { progress } = await reaches(reader, id, "completed")
    expect(progress.totalRows).toBe(ROWS)
    expect((await download(reader, id)).equals(expected)).toBe(true)
    const sql = await connect(reader.database, 1)
    expect([...(await sql`select status from sluice.exports where id = ${id}`)]).toEqual([{ status: "completed" }])
  })
  test("is where a stream reads", async () => {
    const response = await fetch(`${reader.url}/api/v1/exports/csv`)
    expect(Buffer.from(await response.arrayBuffer()).equals(expected)).toBe(true)
  })
  test("is the only one with sessions that read exports", async () => {
    const sql = await connect(elsewhere, 1)
    const lock = await sql.reserve()
    await lock.unsafe("begin; lock table users in access exclusive mode")
    const id = await createExport(reader)
    await sourceIsBusy(elsewhere)
    expect(await sourceBackends(reader.database)).toEqual([])
    await lock.unsafe("rollback")
    lock.release()
    await reaches(reader, id, "completed")
  })
  test("gets no schema, no table, and no session but those that read exports", async () => {
    const sql = await connect(elsewhere, 1)
    const found = await sql`
      select 'schema' as kind, nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
      union all select 'relation', relname from pg_class where relnamespace = 'public'::regnamespace
      union all select 'session', application_name from pg_stat_activity where application_name ~ '^sluice (?!source)'
      order by 1`
    expect([...found]).toEqual([
      { kind: "relation", name: "users" },
      { kind: "schema", name: "public" }
    ])
  })
})

const ready = (service: Service, method = "GET") => send(service.url, { target: "/ready", method })

/** Waits until /ready is 503 and names these. */
const expectNamed = async (service: Service, ...fields: ReadonlyArray<string>) => {
  const answer = await until(`${fields.join(" and ")} to be named`, async () => {
    const found = await ready(service)
    return found.status === 503 && found
  })
  const { errors } = expectProblem(answer, 503)
  expect(errors.map(({ field }) => field)).toEqual([...fields])
  expect(answer.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/)
  expect((await ready(service, "HEAD")).status).toBe(503)
  // /health says whether the process lives, whatever the databases do.
  expect(await send(service.url, { target: "/health" })).toMatchObject({ status: 200, body: '{"status":"ok"}' })
}
const isReady = (service: Service) => until("the service to be ready", async () => (await ready(service)).status === 200)

describe("GET /ready", () => {
  beforeAll(async () => {
    keeper = await startService({ DATABASE_URL: elsewhere, SOURCE_DATABASE_URL: await freshDatabase() })
  })

  test("is 200 while the databases and the storage answer", async () => {
    for (const service of [reader, keeper]) {
      const { status, headers, body } = await ready(service)
      expect([status, JSON.parse(body)]).toEqual([200, { status: "ready" }])
      expect(headers.get("Cache-Control")).toBe("no-store")
    }
  })

  test("names the storage while it does not exist, or a file is in its place", async () => {
    await rm(reader.storage, { recursive: true })
    await expectNamed(reader, "storage")
    await writeFile(reader.storage, "")
    await expectNamed(reader, "storage")
    await rm(reader.storage)
    await mkdir(reader.storage)
    await isReady(reader)
    const id = await createExport(reader)
    await reaches(reader, id, "completed")
  })

  test("names the unavailable database by its use, and the storage too", async () => {
    const id = await createExport(reader)
    await reaches(reader, id, "completed")
    await stopServer()
    await expectNamed(reader, "source")
    await expectNamed(keeper, "database")
    await rm(keeper.storage, { recursive: true })
    await until("the database and the storage to be named", async () => (await ready(keeper)).body.includes("storage"))
    await expectNamed(keeper, "database", "storage")

    // Without its source the service still answers requests about its exports.
    expect((await statusOf(reader, id)).status).toBe("completed")
    expect((await download(reader, id)).toString().split("\n")).toHaveLength(ROWS + 2)
    expectProblem(await send(reader.url, { target: "/exports/csv" }), 503)
    expectProblem(await send(keeper.url, { target: `/exports/${id}/status` }), 503)
    expect(await reader.stop()).toBe(0)
    expect(await keeper.stop()).toBe(0)
  })
})
