/** Filters and orders against SQL that is written by hand. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import type postgres from "postgres"
import { download, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { someFilters, someTrees } from "./filter-arbitraries.ts"
import { byHand, queryOf, whereOf, type Tree } from "./filter-model.ts"
import { field, names, quoted, ROWS, THINGS, thingsDatabase } from "./filters.fixture.ts"

setDefaultTimeout(60_000)

const services: Array<Service> = []
const start = async (env: Record<string, string>) => {
  const service = await startService({ RATE_LIMIT_MAX: "10000", ...env })
  services.push(service)
  return service
}
afterAll(async () => {
  for (const service of services) expect(await service.stop()).toBe(0)
})

let service: Service
let sql: postgres.Sql
beforeAll(async () => {
  const made = await thingsDatabase()
  sql = made.sql
  service = await start({ DATABASE_URL: made.url, EXPORT_DATASETS: "shop.things,shop.shapeless", MAX_CONCURRENT_EXPORTS: "8" })
})

const idsByHand = async (trees: ReadonlyArray<Tree>): Promise<ReadonlyArray<number>> => {
  const found = await sql.unsafe(`select id from shop.things where ${trees.map(byHand).join(" and ")} order by id`)
  return found.map(({ id }) => id as number)
}
const stream = (query: string, from = service) => fetch(`${from.url}/exports/csv?${query}`)
const idsOf = (csv: string) => [...csv.matchAll(/^\uFEFF?(\d+)(?=[,;\r\n])/gm)].map(([, id]) => Number(id))

const csvOf = (ids: ReadonlyArray<number>) => `id\n${ids.map((id) => `${id}\n`).join("")}`
const checkQuery = async (trees: ReadonlyArray<Tree>, from = service): Promise<ReadonlyArray<number>> => {
  const [response, ids] = await Promise.all([stream(queryOf(trees), from), idsByHand(trees)])
  expect([response.status, await response.text()]).toEqual([200, csvOf(ids)])
  return ids
}

const checkBody = async (trees: ReadonlyArray<Tree>) => {
  const body = `{"dataset":"shop.things","columns":["id"],"order_by":"id","where":${whereOf(trees)}}`
  const created = await fetch(`${service.url}/exports/csv`, jsonPost(body))
  const { exportId, detail } = (await created.json()) as { exportId: string; detail?: string }
  expect([created.status, detail]).toEqual([202, undefined])
  await reaches(service, exportId, "completed")
  expect(idsOf(String(await download(service, exportId)))).toEqual([...(await idsByHand(trees))])
}

/** Checks filters, eight at a time. */
const checkAll = <A>(arbitrary: fc.Arbitrary<A>, check: (one: A) => Promise<unknown>, number: number) =>
  fc.assert(
    fc.asyncProperty(
      fc.array(arbitrary, { minLength: 8, maxLength: 8 }),
      async (all) => void (await Promise.all(all.map(check)))
    ),
    { numRuns: Math.ceil(number / 8) }
  )

describe("filters give the rows of SQL written by hand", () => {
  test("in a query", async () => {
    let found = 0
    const check = async (filters: ReadonlyArray<Tree>) => {
      const { length } = await checkQuery(filters)
      if (length > 0) found += 1
    }
    await checkAll(someFilters, check, 48)
    expect(found).toBeGreaterThan(10)
  })

  test("in nested groups of or and and, in a query", async () => {
    let [found, all] = [0, 0]
    const check = async (trees: ReadonlyArray<Tree>) => {
      const { length } = await checkQuery(trees)
      if (length > 0) found += 1
      if (length === ROWS) all += 1
    }
    await checkAll(someTrees, check, 96)
    expect(found).toBeGreaterThan(20)
    expect(all).toBeLessThan(48)
  })

  test("in the body of a POST, as strings, numbers, truth values, null, lists and objects", async () => {
    await checkAll(fc.oneof(someFilters, someTrees), checkBody, Number(process.env["FILTER_BODIES"] ?? 24))
  })

  test("with EXPORT_SOURCE=cursor", async () => {
    const cursor = await start({ DATABASE_URL: service.database, EXPORT_SOURCE: "cursor", EXPORT_DATASETS: "shop.things" })
    for (const one of fc.sample(fc.oneof(someFilters, someTrees), 20)) await checkQuery(one, cursor)
  })
})

describe("order_by gives the order of SQL", () => {
  /** Formats in which values are text that sorts differently. */
  const formats = [
    "",
    "&decimal=%2C&delimiter=;",
    "&profile=excel",
    "&boolean=yes/no",
    "&datetime=iso8601&timezone=Asia/Kathmandu"
  ]
  const sorted = names.filter((name) => name !== "doc")
  const order = fc.uniqueArray(fc.record({ name: fc.constantFrom(...sorted), down: fc.boolean() }), {
    minLength: 1,
    maxLength: 4,
    selector: ({ name }) => name
  })

  test("with any format, and total gives the first rows", async () => {
    const one = fc.record({ order, format: fc.constantFrom(...formats), total: fc.integer({ min: 1, max: ROWS }) })
    await fc.assert(
      fc.asyncProperty(one, async ({ order: items, format, total }) => {
        const text = items.map(
          ({ name, down }) => (down ? "-" : "") + (name.length % 2 === 0 ? quoted(name) : name).replace(/^odd.*/, quoted)
        )
        const by = items.map(({ name, down }) => `${quoted(name)} ${down ? "desc nulls first" : "asc nulls last"}`)
        const expected = await sql.unsafe(`select id from shop.things order by ${by.join(", ")}, id limit ${total}`)
        const columns = "columns=id,count,large,amount,price,flag,at,day"
        const response = await stream(`${THINGS}&${columns}&${field("order_by", `${text.join(",")},id`)}&total=${total}${format}`)
        expect(response.status).toBe(200)
        expect(idsOf(await response.text())).toEqual(expected.map(({ id }) => id as number))
      }),
      { numRuns: 50 }
    )
  })
})

/** Returns the status and the errors of an answer. */
const refused = async (response: Response) => {
  const { status, errors } = (await response.json()) as ProblemDocument
  return [status, ...errors]
}

const asked = (filter: string) => `to compare with that value itself, write "eq.${filter}"`
describe("a 400 names the field of", () => {
  const compared = "eq, neq, gt, gte, lt, lte, in, isdistinct, is"
  test.each([
    ["count", "eq.abc", 'must be of type integer: invalid input syntax for type integer: "abc"'],
    ["count", "in.(1,2147483648)", 'must be of type integer: value "2147483648" is out of range for type integer'],
    ["amount", "gt.1,5", 'must be of type numeric(12,2): invalid input syntax for type numeric: "1,5"'],
    ["day", "2024-02-30", 'must be of type date: date/time field value out of range: "2024-02-30"'],
    ["key", "eq.1", 'must be of type uuid: invalid input syntax for type uuid: "1"'],
    ["mood", "eq.glad", 'must be of type shop.mood: invalid input value for enum shop.mood: "glad"'],
    ["feeling", "eq.glad", 'must be of type shop.feeling: invalid input value for enum shop.mood: "glad"'],
    ["tags", "eq.{1", 'must be of type integer[]: malformed array literal: "{1"'],
    ["tags", "eq.{{{{{{{1}}}}}}}", /must be of type integer\[\]: number of array dimensions exceeds the maximum/],
    ["address", "not.neq.1.2.3", 'must be of type inet: invalid input syntax for type inet: "1.2.3"'],
    ["doc", "eq.{", "must be of type jsonb: invalid input syntax for type json"],
    ["flag", "is.maybe", 'must be is.null or is.not_null, is.true, is.false or is.unknown, not "is.maybe"'],
    ["count", "is.true", 'must be is.null or is.not_null, not "is.true"'],
    [
      "name",
      "in.a,b",
      'must be a list such as in.(a,b) or in.("a,b",c), not "a,b"; to compare with that value itself, write "eq.in.a,b"'
    ],
    ["name", "like.a\\", 'must not end in a backslash that nothing follows, as in "a\\\\"'],
    ["count", "like.1*", `cannot be filtered by like: its type integer has the operators ${compared}; ${asked("like.1*")}`],
    [
      "feeling",
      "ilike.s*",
      `cannot be filtered by ilike: its type shop.feeling has the operators ${compared}; ${asked("ilike.s*")}`
    ]
  ])("%s=%s", async (name, text, detail) => {
    const expected = { detail: typeof detail === "string" ? detail : expect.stringMatching(detail) }
    expect(await refused(await stream(`${THINGS}&${field(name, text)}`))).toEqual([400, { field: name, ...expected }])
    const body = JSON.stringify({ dataset: "shop.things", where: { [name]: text } })
    for (const path of ["csv", "estimate"]) {
      const response = await fetch(`${service.url}/exports/${path}`, jsonPost(body))
      expect(await refused(response)).toEqual([400, { field: `where.${name}`, ...expected }])
    }
  })

  test.each(["at", "doc", "kin"])("a comparison or an order by a column whose type has no order: %s", async (name) => {
    const type = { at: "point", doc: "json", kin: "regclass" }[name]
    const shapeless = "dataset=shop.shapeless"
    const operators = name === "doc" ? "fts, plfts, phfts, wfts, is" : "is"
    const filter = { field: name, detail: `cannot be filtered by eq: its type ${type} has the operators ${operators}` }
    expect(await refused(await stream(`${shapeless}&${name}=eq.1`))).toEqual([400, filter])
    const order = { field: "order_by", detail: `cannot sort by "${name}": its type ${type} has no order` }
    expect(await refused(await stream(`${shapeless}&order_by=${name}`))).toEqual([400, order])
    expect((await stream(`${shapeless}&${name}=is.null`)).status).toBe(200)
  })

  test("a value with a wrong syntax for its type", async () => {
    const detail = 'must be of type tsquery: syntax error in tsquery: "a b"'
    expect(await refused(await stream(`dataset=shop.shapeless&${field("found", "eq.a b")}`))).toEqual([
      400,
      { field: "found", detail }
    ])
  })

  test("each of several wrong filters", async () => {
    const answer = await refused(await stream(`${THINGS}&count=eq.x&day=eq.y&flag=eq.z&name=eq.fine`))
    expect(answer.map((one) => (typeof one === "object" ? one.field : one))).toEqual([400, "count", "day", "flag"])
  })
})
