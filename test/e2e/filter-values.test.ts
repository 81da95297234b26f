/** Values of filters that cost more than they seem to: numbers with exponents, moments, patterns that run for ever. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import type postgres from "postgres"
import { jsonPost, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { sourceIsLeft } from "../support/source.ts"
import { until } from "../support/until.ts"
import { fileOf } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const setup = `
  create schema v; create domain v.exact as numeric;
  create table v.t (id int primary key, n numeric, e v.exact, f float8, ns numeric[], span numrange, spans nummultirange, 
    doc jsonb, key uuid, keys uuid[], bits varbit, words text[], name text, secret text, at timestamptz, days daterange, times timestamp[]);
  insert into v.t select n, n, n, n, array[n], numrange(n, n + 1), nummultirange(numrange(n, n + 1)), to_jsonb(n),
    md5(n::text)::uuid, array[md5(n::text)::uuid], '101', array['1e999'], repeat('a', 201) || 'b', 'seen', now(), '[2020-01-01,2030-01-01)',
    array[now()::timestamp] from generate_series(1, 100) n;
  insert into v.t (id, n, secret) values (1000, 1000, 'unseen');
  create table v.moments as select n as id, clock_timestamp() as at, repeat('x', 60) as filler from generate_series(1, 1) n`

let service: Service
let sql: postgres.Sql
let file: string
beforeAll(async () => {
  const url = await freshDatabase()
  sql = await connect(url, 2)
  await sql.unsafe(setup)
  file = await fileOf({
    "v.t": { hidden: ["secret"], where: { secret: "eq.seen" }, parameters: { least: { column: "n", operator: "gte" } } }
  })
  const env = { DATABASE_URL: url, EXPORT_DATASETS: "v.*", DATASETS_FILE: file, RATE_LIMIT_MAX: "10000" }
  service = await startService(env)
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const estimate = (where: object) => fetch(`${service.url}/exports/estimate`, jsonPost({ dataset: "v.t", where }))
const stream = (name: string, filter: string, more = "") =>
  fetch(`${service.url}/exports/csv?dataset=v.t&columns=id&order_by=id&${name}=${encodeURIComponent(filter)}${more}`)
const errorsOf = async (response: Response) => ((await response.json()) as ProblemDocument).errors

/** Returns the resident memory of the service in KiB. */
const resident = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${service.pid}/status`, "utf8"))![1])

describe("a number has at most 400 digits", () => {
  const digits = /has a number of more than 400 digits/
  const huge = "1e131071"
  test.each<[name: string, filter: string]>([
    ["n", `eq.${huge}`],
    ["n", "lt.1e-16383"],
    ["n", "gt.1E+401"],
    ["n", "gt.0x" + "f".repeat(401)],
    ["n", `eq.${"9".repeat(401)}`],
    ["n", `eq(any).{1,${huge}}`],
    ["e", `eq.${huge}`],
    ["f", "eq.1e999999999999999999999"],
    ["ns", `cs.{1,${huge}}`],
    ["ns", 'cs.{"1e131071"}'],
    ["ns", "cs.{1\\e131071}"],
    ["span", `cs.[0,${huge})`],
    ["span", 'cs.[0,1"e"131071)'],
    ["spans", `ov.{[0,1),[2,${huge})}`],
    ["doc", `cs.{"x":${huge}}`],
    ["doc", `eq.[1,{"y":[-${huge}]}]`],
    ["doc->x", `eq.${huge}`]
  ])("%s=%s", async (name, filter) => {
    const expected = { field: `where.${name}`, detail: expect.stringMatching(digits) }
    const response = await estimate({ [name]: filter })
    expect([response.status, ...(await errorsOf(response))]).toEqual([400, expected])
  })

  test.each<[name: string, filter: string]>([
    ["n", "eq.1e399"],
    ["n", `eq.${"9".repeat(400)}`],
    ["f", "eq.1.7976931348623157e308"],
    ["f", "gt.5e-324"],
    ["key", "eq.0e999999-0000-1e99-9e99-12345678e901".replace("0e999999", "0e999999").padEnd(36, "0")],
    ["keys", "cs.{00000000-0000-0000-0000-12345678e901}"],
    ["bits", `eq.${"1".repeat(1000)}`],
    ["words", "cs.{1e999}"],
    ["name", "eq.1e999999"],
    ["doc", 'cs.{"x":"1e131071"}'],
    ["doc->>x", "eq.1e131071"]
  ])("text that only looks like a longer number is accepted: %s=%s", async (name, filter) => {
    const response = await estimate({ [name]: filter })
    expect([response.status, response.ok ? "" : await response.text()]).toEqual([200, ""])
  })

  test("and neither may a parameter that a definition declares have more", async () => {
    const response = await stream("least", huge)
    expect([response.status, ...(await errorsOf(response))]).toEqual([
      400,
      { field: "least", detail: expect.stringMatching(digits) }
    ])
  })

  test("and a thousand longer numbers cost neither time nor memory", async () => {
    const before = await resident()
    const began = performance.now()
    const where = { n: `in.(${Array.from({ length: 400 }, () => huge).join()})` }
    for (const path of ["estimate", "csv"]) {
      const response = await fetch(`${service.url}/exports/${path}`, jsonPost({ dataset: "v.t", where }))
      expect(response.status).toBe(400)
    }
    expect((await estimate({ ns: `cs.{${Array.from({ length: 7_000 }, () => huge).join()}}` })).status).toBe(400)
    expect((await estimate({ doc: `cs.[${Array.from({ length: 7_000 }, () => huge).join()}]` })).status).toBe(400)
    expect(performance.now() - began).toBeLessThan(5_000)
    expect((await resident()) - before).toBeLessThan(50_000)
  })
})

const times = (count: number, filter: object) => Array.from({ length: count }, () => filter)
const deep = (levels: number): object => (levels === 0 ? { id: 1 } : { or: [deep(levels - 1), { id: 2 }] })
const nested = (levels: number): string => (levels === 0 ? "id.eq.1" : `or(${nested(levels - 1)},id.eq.2)`)

describe("a request may have", () => {
  test.each<[what: string, where: object, status: number, detail: string]>([
    ["100 filters", { id: times(100, {}).map(() => "gt.0") }, 200, ""],
    [
      "no 101 filters",
      { id: times(101, {}).map(() => "gt.0") },
      400,
      "exceeds the limit: a request may have at most 100 filters"
    ],
    [
      "no 101 filters and groups together",
      { or: times(50, { and: [{ id: 1 }, { id: 2 }] }) },
      400,
      "exceeds the limit: a request may have at most 100 filters"
    ],
    ["lists that are nested 8 deep", deep(8), 200, ""],
    ["no lists that are nested 9 deep", deep(9), 400, "exceeds the limit: lists of `and` and `or` may be nested at most 8 deep"],
    [
      "no lists that are nested a thousand deep",
      deep(1000),
      400,
      "exceeds the limit: lists of `and` and `or` may be nested at most 8 deep"
    ],
    [
      "1,000 values",
      {
        id: `in.(${times(1000, {})
          .map((_, n) => n)
          .join()})`
      },
      200,
      ""
    ],
    [
      "no 1,001 values",
      {
        or: [
          {
            id: `eq(any).{${times(1001, {})
              .map((_, n) => n)
              .join()}}`
          }
        ]
      },
      400,
      "exceeds the limit: the filters of a request may have at most 1000 values"
    ]
  ])("%s", async (_, where, status, detail) => {
    const response = await estimate(where)
    expect([response.status, response.ok ? "" : JSON.stringify(await errorsOf(response))]).toEqual([
      status,
      expect.stringContaining(detail)
    ])
  })

  test("lists that are nested 8 deep, and no deeper, in a query", async () => {
    expect((await stream("or", `(${nested(7)},id.eq.3)`)).status).toBe(200)
    const response = await stream("or", `(${nested(8)},id.eq.3)`)
    expect(await errorsOf(response)).toEqual([
      { field: "or", detail: "exceeds the limit: lists of `and` and `or` may be nested at most 8 deep" }
    ])
    const open = await stream("or", "or(".repeat(3_000))
    expect(open.status).toBe(400)
  })
})

describe("the conditions of a definition hold whatever the filters of a request", () => {
  test.each<[name: string, filter: string]>([
    ["or", "(id.gt.0,id.lt.0)"],
    ["not.and", "(id.lt.0,id.gt.0)"],
    ["or", "(n.gte.1000,id.eq.1000,not.and(id.lt.0))"],
    ["not.or", "(id.lt.0)"],
    ["id", "not.in.()"]
  ])("%s=%s", async (name, filter) => {
    const text = await (await stream(name, filter)).text()
    const expected = await sql`select id from v.t where secret = 'seen' order by id`
    expect(text).toBe(`id\n${expected.map(({ id }) => `${id}\n`).join("")}`)
  })
  test("and its hidden columns are refused in a list of filters", async () => {
    for (const filter of ["(secret.eq.unseen,id.gt.0)", "(id.eq.1,or(secret->a.is.null,id.eq.2))"]) {
      const [error] = await errorsOf(await stream("or", filter))
      expect(error!.field).toBe("or")
      expect(error!.detail).toMatch(/^holds a filter on secret.* that is not a filterable column; filterable: (?!.*secret)/)
    }
  })
})

describe("a value such as now", () => {
  test("is the same for all parts of an export", async () => {
    // There are some 20 rows for each millisecond, all over the table, so that the start of another session would show.
    await sql.unsafe(`
      truncate v.moments;
      insert into v.moments select n, clock_timestamp() - interval '10 s' + (n % 30000) * interval '1 ms', repeat('x', 60)
      from generate_series(1, 600000) n;
      analyze v.moments`)
    const filter = encodeURIComponent("(at.lt.now,at.eq.infinity)")
    const text = await (await fetch(`${service.url}/exports/csv?dataset=v.moments&or=${filter}`)).text()
    const [last] = text
      .split("\n")
      .slice(1, -1)
      .map((line) => line.split(",")[1]!)
      .toSorted()
      .slice(-1)
    const [row] = await sql`select count(*)::int as rows from v.moments where at <= ${last!}::text::timestamptz`
    expect(text.split("\n").length - 2).toBe(row!["rows"] as number)
    expect(row!["rows"]).toBeLessThan(600_000)
    expect(service.log().findLast(({ message }) => message === "export planned")!.annotations["parts"]).toBeGreaterThan(5)
  })

  test.each<[name: string, filter: string, where: string]>([
    ["at", "lt.tomorrow", "at < 'tomorrow'"],
    ["at", "in.(now,today)", "at in ('now', 'today')"],
    ["at", "gt(any).{now,yesterday}", "at > 'yesterday'"],
    ["days", "cs.[today,tomorrow]", "days @> daterange('today', 'tomorrow', '[]')"],
    ["times", 'ov.{"n\\ow",today}', "times && array['today'::timestamp]"],
    ["words", "cs.{now}", "false"]
  ])("is read in any type: %s=%s", async (name, filter, where) => {
    const expected = await sql.unsafe(`select id from v.t where ${where} order by id`)
    expect(await (await stream(name, filter)).text()).toBe(`id\n${expected.map(({ id }) => `${id}\n`).join("")}`)
  })
})

test("a regular expression that runs for ever is cancelled when its client leaves", async () => {
  const aborted = new AbortController()
  const filter = encodeURIComponent(String.raw`match.^(a+)(a+)(a+)(a+)(a+)\1\2\3\4\5b$`)
  const answer = fetch(`${service.url}/exports/csv?dataset=v.t&name=${filter}`, { signal: aborted.signal }).then((response) =>
    response.text()
  )
  await until("the query to compute", async () => {
    const [row] = await sql`select count(*)::int as busy from pg_stat_activity where application_name = 'sluice source'
      and datname = current_database() and state = 'active' and query_start < clock_timestamp() - interval '0.3 s'`
    return row!["busy"] === 1
  })
  aborted.abort()
  await answer.catch(() => {})
  await sourceIsLeft(service.database)
})
