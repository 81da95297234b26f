/** A rolling upgrade: what other versions have stored in the app database, seen by this one. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { copyCsv, createExport, download, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)
let service: Service
let sql: postgres.Sql
beforeAll(async () => {
  service = await startService({ MAX_CONCURRENT_EXPORTS: "1" })
  sql = await connect(service.database, 2)
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Runs `work` while one export waits for its table, so that all others stay in the queue. */
const whileBusy = async <A>(work: () => Promise<A>): Promise<A> => {
  const locker = await sql.reserve()
  await locker`begin`
  await locker`lock table users`
  const blocked = await createExport(service, "?total=1")
  await reaches(service, blocked, "processing")
  const result = await work()
  await locker`rollback`
  locker.release()
  return result
}

/** Creates an export, and writes its row anew as another version would have stored it. */
const storedAs = (spec: object) =>
  whileBusy(async () => {
    const id = await createExport(service)
    await sql`update sluice.exports set spec = ${sql.json(spec as postgres.JSONValue)}, fingerprint = ${"0".repeat(64)} where id = ${id}`
    return id
  })

const isReturned = (message: unknown) =>
  String(message).startsWith("export returned to the queue: Cannot read what was to be exported")

const csv = {
  type: "csv",
  encoding: "utf-8",
  bom: false,
  header: "names",
  delimiter: ";",
  quote: '"',
  quoting: "minimal",
  null: "",
  newline: "lf",
  formulas: "keep",
  longNumbers: "keep",
  timezone: "UTC",
  datetime: "postgres",
  boolean: "t/f",
  binary: "hex",
  decimal: "."
}
const columns = [
  { name: "id", type: "bigint" },
  { name: "name", type: "text" }
]

test("a job that the version before stored is completed, and its file is what was asked for", async () => {
  const conditions = [{ column: "country_code", not: false, operator: "eq", values: ["UK"] }]
  const order = [{ column: "id", descending: true }]
  const id = await storedAs({ dataset: "users", columns, conditions, order, total: 1000, format: csv })
  await reaches(service, id, "completed")
  const query = "select id, name from users where country_code = 'UK' order by id desc limit 1000"
  expect((await download(service, id)).equals(await copyCsv(service, query, ", delimiter ';'"))).toBe(true)
})

test("a job with a filter that the version before stored under another name of its order is completed", async () => {
  const conditions = [{ column: "name", not: false, operator: "like", quantifier: "any", values: ["Ada%", "Alan%"] }]
  const id = await storedAs({
    dataset: "users",
    columns,
    conditions,
    format: csv,
    orderBy: [{ column: "id", descending: false }]
  })
  await reaches(service, id, "completed")
  const query = "select id, name from users where name like any (array['Ada%', 'Alan%']) order by id"
  expect((await download(service, id)).equals(await copyCsv(service, query, ", delimiter ';'"))).toBe(true)
})

test("a job of a later version goes back to the queue, without a failure, for an instance that reads it", async () => {
  const format = { kind: "csv", ...csv }
  const id = await storedAs({ version: 3, dataset: "users", columns, conditions: [], order: [], format })
  await until("the job to be returned twice", () => service.log().filter(({ message }) => isReturned(message)).length >= 2)
  const [row] = await sql`select status, failures, crashes from sluice.exports where id = ${id}`
  expect(row).toMatchObject({ failures: 0, crashes: 0 })
  await sql`update sluice.exports set spec = spec || '{"version": 2}' where id = ${id}`
  await reaches(service, id, "completed")
})

test("the version before, which writes a fingerprint, can still store exports", async () => {
  const [row] = await sql`
    insert into sluice.exports (id, dataset, spec, fingerprint)
    select gen_random_uuid(), 'users', '{}', ${"0".repeat(64)} returning status`
  expect(row).toEqual({ status: "pending" })
})
