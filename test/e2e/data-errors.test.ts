/** Errors of the data and of the query, which no retry mends, are reported at once and as what they are. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { reaches, type ProblemDocument, isComplete } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

/** Relations that cannot be read, and the error of the server. */
const failing = {
  division: ["view", "select 1 / n as quotient from generate_series(0, 9) n", "22012: division by zero"],
  subquery: ["view", "select (select n from generate_series(1, 2) n) as n", "21000: more than one row returned"],
  checked: ["view", "select (-n)::checked_number as n from generate_series(1, 9) n", "23514: value for domain checked_number"],
  raised: ["view", "select raised(n) as n from generate_series(1, 9) n", "P0001: this number is odd"],
  endless: ["view", "select repeat('x', 2000000000) as text from generate_series(1, 9)", "54000: "],
  forbidden: ["view", "select guarded(n) as n from generate_series(1, 9) n", "42501: permission denied for function guarded"],
  unfilled: ["materialized view", "select 1 as n with no data", '55000: materialized view "unfilled" has not been populated']
} as const
const names = Object.keys(failing) as ReadonlyArray<keyof typeof failing>

let service: Service
let database: string
const ask = (asked: Service, path: string, method = "GET") => fetch(asked.url + path, { method })
const problemOf = async (answer: Promise<Response>) => {
  const response = await answer
  expect(response.headers.get("Content-Type")).toBe("application/problem+json")
  const { detail, type } = (await response.json()) as ProblemDocument
  return { status: response.status, retryAfter: response.headers.get("Retry-After"), detail, type }
}
/** Returns the error of a job of the dataset, and how often the dataset was read. */
const failureOf = async (asked: Service, dataset: string) => {
  const created = await ask(asked, `/exports/csv?dataset=${dataset}`, "POST")
  expect(created.status).toBe(202)
  const { exportId } = (await created.json()) as { exportId: string }
  const { error } = await reaches(asked, exportId, "failed")
  const started = asked.log().filter(({ message, annotations }) => {
    return annotations["exportId"] === exportId && message === "export started"
  })
  return { error, reads: started.length }
}

beforeAll(async () => {
  database = await freshDatabase()
  const sql = await connect(database, 1)
  await sql.unsafe(`
    create domain checked_number as integer check (value > 0);
    create function raised(n integer) returns integer language plpgsql as $$ begin raise exception 'this number is odd'; end $$;
    create function guarded(n integer) returns integer language sql volatile as 'select n';
    revoke execute on function guarded from public;
    ${names.map((name) => `create ${failing[name][0]} public.${name} as ${failing[name][1]};`).join("\n")}
    create view public.late as select 1 / (100000 - n) as quotient, n from generate_series(1, 1000000) n;
    create table public.secret as select generate_series(1, 9) as id;
    create role data_errors_reader login password 'reader';
    grant select on all tables in schema public to data_errors_reader`)
  const url = Object.assign(new URL(database), { username: "data_errors_reader", password: "reader" }).href
  const settings = { DATABASE_URL: database, SOURCE_DATABASE_URL: url, EXPORT_DATASETS: "public.*", RATE_LIMIT_MAX: "1000" }
  service = await startService(settings)
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

describe.each(names)("the error of the dataset %s", (dataset) => {
  const [, , said] = failing[dataset]
  test("is 422 on a stream, with the message of the server and without Retry-After", async () => {
    const { status, retryAfter, detail } = await problemOf(ask(service, `/exports/csv?dataset=${dataset}`))
    expect({ status, retryAfter, detail }).toEqual({ status: 422, retryAfter: null, detail: expect.stringContaining(said) })
  })
  test("fails a job at once, with the message of the server", async () => {
    const { error, reads } = await failureOf(service, dataset)
    expect({ error, reads }).toEqual({ error: expect.stringContaining(said), reads: 1 })
    expect(error).not.toContain("tried")
  })
})

test("an estimate is 422 when the planner fails", async () => {
  const sql = await connect(database, 1)
  await sql.unsafe("create or replace view public.division as select 1 / 0 as quotient from generate_series(0, 9) n")
  const { status, detail } = await problemOf(ask(service, "/exports/estimate?dataset=division", "POST"))
  expect({ status, detail }).toEqual({ status: 422, detail: expect.stringContaining("22012: division by zero") })
})

test("a view that fails at row 100,000 is read once by a job, and breaks off a stream that has begun", async () => {
  const { error, reads } = await failureOf(service, "late")
  expect({ error, reads }).toEqual({ error: "Cannot read from the source database: 22012: division by zero", reads: 1 })
  const streamed = await ask(service, "/exports/csv?dataset=late")
  expect(streamed.status).toBe(200)
  expect(await isComplete(streamed.text())).toBe(false)
})

test("a revoked privilege gives the same error for a stream, an estimate and a job", async () => {
  const sql = await connect(database, 1)
  await sql.unsafe("revoke select on public.secret from data_errors_reader")
  const stream = await problemOf(ask(service, "/exports/csv?dataset=secret"))
  const estimate = await problemOf(ask(service, "/exports/estimate?dataset=secret", "POST"))
  expect(stream).toEqual(estimate)
  expect({ status: stream.status, retryAfter: stream.retryAfter }).toEqual({ status: 422, retryAfter: null })
  expect(stream.detail).toContain("42501: permission denied for table secret")
  expect(await failureOf(service, "secret")).toEqual({ error: stream.detail, reads: 1 })
})

test("a time zone that the server does not know is a mistake of the request: 400", async () => {
  const { status, detail } = await problemOf(ask(service, "/exports/csv?dataset=late&timezone=Mars/Phobos"))
  expect({ status, detail }).toEqual({ status: 400, detail: expect.stringContaining("Mars/Phobos") })
})
