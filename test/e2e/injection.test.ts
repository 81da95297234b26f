/** Attempts to be more than a value, and the statements that the server runs for them. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as fc from "fast-check"
import type postgres from "postgres"
import { jsonPost, statusOf } from "../support/client.ts"
import { reservedParameters } from "../../src/exports/parameters.ts"
import { startService, type Service } from "../support/service.ts"
import { temporaryDirectory } from "../support/shared-service.ts"
import { until } from "../support/until.ts"
import { identifiersOf, loggedStatements, logStatements, shapesOf } from "./sql-fingerprint.ts"
import { byHand, fieldText, filterText, operatorsOf, queryOf, type Tree } from "./filter-model.ts"
import { grammarAttack, harmlessFilters, hostileTrees } from "./grammar-attacks.fixture.ts"
import { field, names, quoted, THINGS, thingsDatabase } from "./filters.fixture.ts"

setDefaultTimeout(60_000)

type Attack = (from: Service) => Promise<Response>
const get =
  (query: string): Attack =>
  (from) =>
    fetch(`${from.url}/exports/csv?${query.includes("dataset=") ? query : `${THINGS}&${query}`}`)
const post =
  (body: object, path = "csv"): Attack =>
  (from) =>
    fetch(`${from.url}/exports/${path}`, jsonPost({ dataset: "shop.things", ...body }))

describe("text with pieces of SQL", () => {
  const fragments = [
    ...String.raw`'~''~"~""~\'~;~--~/*~*/~(~)~,~:~.~=~*~%~$1~$$~::~{0}~e'~or 1=1~union select word from shop.canary~drop table shop.canary`.split(
      "~"
    ),
    ...String.raw`; drop table shop.canary; --~id~secret~select pg_sleep(1)~copy (select 1) to program 'true'~pg_read_file('/etc/passwd')`.split(
      "~"
    ),
    ...String.raw`things~ctid~U&"\0073"~😀~' || (select word from shop.canary) || '~" from shop.canary --~1) or (1=1~now()~in.(~eq.~null`.split(
      "~"
    ),
    ..."__proto__,\t,\n,\r\n,\u00a0".split(",")
  ]
  const hostile = fc
    .array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 5 })
    .chain((parts) => fc.constantFrom("", " ").map((between) => parts.join(between)))
  const parameters = reservedParameters.filter((name) => name !== "where")
  const operators = [...new Set(Object.values(operatorsOf).flat())]
  const attack: fc.Arbitrary<Attack> = fc
    .record({
      text: hostile,
      parameter: fc.constantFrom(...parameters),
      name: fc.constantFrom(...names),
      operator: fc.constantFrom(...operators)
    })
    .chain(({ text, parameter, name, operator }) =>
      fc.constantFrom<Attack>(
        get(field(parameter, text)),
        get(field(name, text)),
        get(field(name, `${operator}.${text}`)),
        get(field(name, `not.in.("${text}","${text.replaceAll('"', '\\"')}")`)),
        get(field(name, `${text}.${text}`)),
        get(field(text, "eq.1")),
        get(field("columns", `id:"${text.replaceAll('"', '""')}"`)),
        get(field("columns", `id:${text}`)),
        get(field("columns", `"${text}",id`)),
        get(field("order_by", `-"${text}"`)),
        get(field("order_by", `id ${text}`)),
        get(field("order_by", `id,${text}`)),
        get(field("timezone", `UTC${text}`)),
        get(field("dataset", `shop.things${text}`)),
        (from) => fetch(`${from.url}/datasets/${encodeURIComponent(text)}`),
        post({ [parameter]: text }),
        post({ [text]: text }),
        post({ columns: [text, { name: text, label: text }] }),
        post({ columns: [{ name: "id", label: text }] }),
        post({ order_by: ["id", text] }),
        post({ where: { [name]: `${operator}.${text}` } }),
        post({ where: { [name]: [text, text] } }),
        post({ where: { [text]: text } }),
        post({ where: text }),
        post({ where: { name: { [text]: text } } }),
        post({ where: { name: text }, null: text }, "estimate"),
        post({ dataset: text })
      )
    )

  const paths = ["doc->a", "doc->>a", "doc->0", "doc->>0", "tags->0", "tags->>a"]
  /** Harmless requests: each operator on each column, and each value of each option. */
  const harmless = [
    THINGS,
    ...names
      .flatMap(harmlessFilters)
      .map((filters) => filters.map((filter) => field(fieldText(filter), filterText(filter))).join("&")),
    ...["", "-"].map((minus) => field("order_by", [...names.map(quoted), ...paths].map((name) => minus + name).join(","))),
    ...[".desc.nullslast", ".nullsfirst"].map((order) =>
      field("order_by", [...names.map(quoted), ...paths].map((name) => name + order).join(","))
    ),
    field("columns", [...names.map(quoted), ...paths.map((path, nth) => `${path}:x${nth}`)].join(",")),
    field("columns", paths[0]!),
    "name=like.é*",
    "flag=is.true&flag=is.false&flag=not.is.unknown",
    "flag=not.is.true&flag=not.is.false&flag=is.unknown",
    "name=is.not_null&name=not.is.not_null",
    // Names of moments, which are read once.
    ...["name", "code", "email", 'odd "name", x', "doc->>a"].map((name) => field(name, "eq.now é")),
    ...["doc->a", "doc"].map((name) => field(name, 'eq."now"')),
    "at=gt.now",
    "day=lt.today",
    "labels=cs.{now}",
    "words=eq.now",
    "total=1",
    "delimiter=;",
    "quoteChar='",
    "quote=all",
    "quote=text",
    "null=NULL",
    "newline=crlf",
    "bom=true",
    "header=none",
    "header=labels",
    "formulas=escape",
    "timezone=Europe/Berlin",
    "datetime=iso8601",
    "datetime=local",
    "binary=base64",
    "decimal=,&delimiter=;",
    ...["true/false", "yes/no", "1/0"].map((boolean) => `boolean=${boolean}`)
  ]

  let attacked: Service
  let source: { readonly url: string; readonly sql: postgres.Sql }
  let before: postgres.Row | undefined
  /** The fingerprints of the statements of harmless requests. */
  let known: ReadonlySet<string>
  const jobs: Array<Promise<string>> = []
  const statuses = new Map<number, number>()

  const untouched = async () => {
    const [state] = await source.sql`select (select jsonb_agg(c order by id) from shop.canary c)::text as canary,
      (select md5(jsonb_agg(t order by id)::text) from shop.things t) as things,
      (select md5(string_agg(oid::text || relname || relfilenode::text, ' ' order by oid)) from pg_class where relkind <> 't') as relations,
      (select count(*)::int from pg_proc) as functions, (select string_agg(rolname, ' ' order by 1) from pg_authid) as roles`
    return state
  }
  const finished = (id: string) =>
    until(`export ${id} to end`, async () => {
      const { status, error } = await statusOf(attacked, id)
      return status === "failed" ? `failed: ${error}` : status === "completed" && status
    })
  const ask = async (request: Attack) => {
    const response = await request(attacked)
    const text = await response.text()
    if (response.status === 202) jobs.push(finished((JSON.parse(text) as { exportId: string }).exportId))
    return { status: response.status, text }
  }
  /** Sends requests with attacks, four at a time, and counts the statuses. */
  const attackBy = (attacks: fc.Arbitrary<Attack>, number: number) =>
    fc.assert(
      fc.asyncProperty(fc.array(attacks, { minLength: 4, maxLength: 4 }), async (requests) => {
        for (const { status, text } of await Promise.all(requests.map(ask))) {
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          if (status >= 500 || /canary-(unseen|\d)/.test(text)) throw new Error(`${status} ${text}`)
        }
      }),
      { numRuns: Math.ceil(number / 4), endOnFailure: true }
    )

  beforeAll(async () => {
    source = await thingsDatabase()
    // The two sessions of this test began before.
    await Promise.all([1, 2].map(() => source.sql`select pg_sleep(0.1)`))
    await logStatements(source.sql)
    const file = join(await temporaryDirectory(), "datasets.json")
    await writeFile(file, JSON.stringify({ datasets: { "shop.things": { hidden: ["secret"], labels: { id: "Number" } } } }))
    attacked = await startService({
      RATE_LIMIT_MAX: "10000",
      SOURCE_DATABASE_URL: source.url,
      EXPORT_DATASETS: "shop.things",
      DATASETS_FILE: file
    })
    before = await untouched()
    for (let at = 0; at < harmless.length; at += 4) {
      const asked = harmless.slice(at, at + 4)
      const answers = await Promise.all(asked.map((query) => ask(get(query))))
      for (const [nth, { status, text }] of answers.entries())
        expect([asked[nth], status, status === 200 || text]).toEqual([asked[nth], 200, true])
    }
    expect((await ask(get("count=eq.x"))).status).toBe(400)
    for (const [path, status] of [
      ["csv", 202],
      ["estimate", 200]
    ] as const)
      expect((await ask(post({ where: { name: "x", count: 1 }, order_by: "id", total: 5 }, path))).status).toBe(status)
    await Promise.all(jobs.splice(0))
    known = new Set((await loggedStatements()).flatMap(shapesOf))
  })

  afterAll(async () => {
    expect(await attacked.stop()).toBe(0)
  })

  test("is taken for a value or refused", async () => {
    await attackBy(attack, 400)
    expect([...statuses.keys()].toSorted((a, b) => a - b)).toEqual([200, 202, 400, 404])
    expect(statuses.get(200)! + statuses.get(202)!).toBeGreaterThan(50)
  })

  test("is refused or gives the rows of a harmless text, at every place of the grammar of filters", async () => {
    statuses.clear()
    const attacks = grammarAttack.map(({ query, body }) => (query === undefined ? post(body!) : get(query)))
    await attackBy(attacks, Number(process.env["INJECTIONS"] ?? 150))
    expect([...statuses.keys()].toSorted((a, b) => a - b)).toEqual([200, 202, 400])
    // About two of three are refused.
    expect(statuses.get(400)).toBeGreaterThan(50)
  })

  /** Checks that a request with filters has the rows of SQL that is written by hand. */
  const isValue = async (trees: ReadonlyArray<Tree>) => {
    const { status, text } = await ask(get(queryOf(trees)))
    const rows = await source.sql.unsafe(`select id from shop.things where ${trees.map(byHand).join(" and ")} order by id`)
    expect([status, text]).toEqual([200, `id\n${rows.map(({ id }) => `${id}\n`).join("")}`])
  }

  test("is only a value where it is written as a value", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(hostileTrees, { minLength: 4, maxLength: 4 }),
        async (all) => void (await Promise.all(all.map(isValue)))
      ),
      { numRuns: 25 }
    )
  })

  test("has no effect: the server ran no statement of another form", async () => {
    for (const ended of await Promise.all(jobs)) expect(ended).toBe("completed")
    const statements = await loggedStatements()
    expect(statements.length).toBeGreaterThan(1_000)
    expect([...new Set(statements.flatMap(shapesOf))].filter((shape) => !known.has(shape))).toEqual([])
    const identifiers = new Set(statements.filter((statement) => statement.startsWith("copy ")).flatMap(identifiersOf))
    const allowed = new Set([...names, "id", "shop", "things", "exported", "C", "char"].map(quoted))
    expect([...identifiers].filter((one) => !allowed.has(one) && !/^"path \d+"$/.test(one))).toEqual([])
    expect(await untouched()).toEqual(before)
  })

  test("would be noticed if the server ran it", () => {
    const harmlessOnes = new Set(
      shapesOf(`copy (select "id" from "shop"."things" where "name" = 'a'::text::text) to stdout (format csv)`)
    )
    const fresh = (statement: string) => shapesOf(statement).filter((shape) => !harmlessOnes.has(shape)).length
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = 'it''s -- "x"'::text::text) to stdout (format csv)`)
    ).toBe(0)
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = 'a' or 1=1 --'::text::text) to stdout (format csv)`)
    ).toBe(2)
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = ''; drop table x; --'::text::text) to stdout (format csv)`)
    ).toBe(1)
    expect(
      fresh(`copy (select "id", (select 1) from "shop"."things" where "name" = ''::text::text) to stdout (format csv)`)
    ).toBe(1)
  })
})
