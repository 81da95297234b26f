import { afterAll, beforeAll, expect } from "bun:test"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { startService } from "../support/service.ts"
import { connect, freshDatabase, temporaryDirectory } from "../support/shared-service.ts"

const setup = `
  create schema hr;
  create table hr.staff (
    id int, salary numeric(10,2), name text, tenant int, at timestamptz, day date, "constructor" int, dept text, primary key (salary, id));
  insert into hr.staff select n, n * 1000.5, 'staff ' || n, n % 4, timestamptz '2024-01-01 00:00+00' + n * interval '30 minutes',
    date '2024-01-01' + n, n, chr(65 + n % 3) from generate_series(1, 96) n;
  create table hr.orders (id int primary key, note text); insert into hr.orders values (1, 'a');
  create table hr.moving (id int, name text, secret text, tenant int); insert into hr.moving values (1, 'seen', 'unseen', 1), (2, 'seen', 'unseen', 2);
  create table hr.waiting (id int, name text); insert into hr.waiting select n, 'n' || n from generate_series(1, 20) n;
  create table hr.large as select n as id, repeat('x', 200) as filler from generate_series(1, 300000) n`

/** Definitions of the relations of `setup`. */
export const definitions = {
  "hr.staff": {
    name: "people",
    hidden: ["salary", "tenant"],
    labels: { name: "Full, name", id: "=Number" },
    where: { tenant: "in.(1,2)", at: "lt.2024-01-02", day: "not.is.null" },
    maxRows: 20,
    orderBy: "-id",
    parameters: {
      section: { column: "dept", operator: "eq", values: ["A", "B"] },
      since: { column: "day", operator: "gte" },
      code: { column: "id", operator: "lte", pattern: String.raw`\d{1,3}`, allowed: "up to three digits" }
    }
  },
  "hr.moving": { hidden: ["secret"], where: { tenant: "eq.1" } }
}

export const fileOf = async (datasets: object): Promise<string> => {
  const path = join(await temporaryDirectory(), "datasets.json")
  await writeFile(path, JSON.stringify({ datasets }))
  return path
}

/** Starts a service with these definitions. Returns it with functions that ask it. */
const startStaff = async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 3)
  await sql.unsafe(setup)
  const file = await fileOf(definitions)
  const service = await startService({
    DATABASE_URL: database,
    EXPORT_DATASETS: "hr.*",
    DATASETS_FILE: file,
    RATE_LIMIT_MAX: "10000"
  })
  const stream = (query: string) => fetch(`${service.url}/exports/csv?${query}`)
  const csv = async (query: string) => {
    const response = await stream(query)
    const text = await response.text()
    expect([response.status, text.startsWith("{")]).toEqual([200, false])
    return text
  }
  const listed = async () => {
    const { datasets } = (await (await fetch(`${service.url}/datasets`)).json()) as { datasets: ReadonlyArray<{ name: string }> }
    return datasets.map(({ name }) => name)
  }
  return { service, sql, file, stream, csv, listed }
}

/** Starts such a service for the tests of a file. It can be used once they run. */
export const useStaff = () => {
  const staff = {} as Awaited<ReturnType<typeof startStaff>>
  beforeAll(async () => {
    Object.assign(staff, await startStaff())
  })
  afterAll(async () => {
    expect(await staff.service.stop()).toBe(0)
  })
  return staff
}
