/** All that tries to be more than a value, and what the server runs of it. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as fc from "fast-check"
import type postgres from "postgres"
import { jsonPost, statusOf } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { temporaryDirectory } from "../support/shared.ts"
import { until } from "../support/until.ts"
import { identifiersOf, loggedStatements, logStatements, shapesOf } from "./shapes.ts"
import { field, listItem, names, patterned, pools, quoted, THINGS, thingsDatabase } from "./things.ts"

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

const inQuotes = (text: string) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`

describe("what is no value", () => {
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
  const parameters = (
    "columns,dataset,order_by,total,limit,profile,delimiter,quoteChar,quote,null,newline,bom,header,formulas,timezone," +
    "datetime,boolean,binary,decimal,apiKey,errorRow"
  ).split(",")
  const operators = ["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is", "isdistinct"]
  const others = ["match", "imatch", "fts", "plfts", "phfts", "wfts", "cs", "cd", "ov", "sl", "adj", "like(any)", "eq(all)"]
  const attack: fc.Arbitrary<Attack> = fc
    .record({
      text: hostile,
      parameter: fc.constantFrom(...parameters),
      name: fc.constantFrom(...names),
      operator: fc.constantFrom(...operators, ...others)
    })
    .chain(({ text, parameter, name, operator }) =>
      fc.constantFrom<Attack>(
        get(field(parameter, text)),
        get(field(name, text)),
        get(field(name, `${operator}.${text}`)),
        get(field(name, `not.in.("${text}","${text.replaceAll('"', '\\"')}")`)),
        get(field(name, `${text}.${text}`)),
        get(field(text, "eq.1")),
        get(field("name", `fts(${text}).a`)),
        get(field("name", `${operator}(${text}).a`)),
        get(field("name", `like(any).{${text}}`)),
        get(field("name", `like(any).{${inQuotes(text)}}`)),
        get(field("or", text)),
        get(field("or", `(id.eq.1,name.${operator}.${text})`)),
        get(field("or", `(id.eq.1,name.eq.${inQuotes(text)})`)),
        get(field("not.and", `(id.eq.1,${text}.eq.1)`)),
        get(field("or", `(id.eq.1,${inQuotes(text)}.eq.1)`)),
        get(field(`doc->>${text}`, "eq.a")),
        get(field(`doc->>${inQuotes(text)}`, `eq.${text}`)),
        get(field(`doc->${text}`, "is.null")),
        get(field("columns", `id,doc->>${inQuotes(text)}:"${text.replaceAll('"', '""')}"`)),
        get(field("columns", `doc->${text}`)),
        get(field("order_by", `doc->>${inQuotes(text)}.desc.nullslast`)),
        get(field("order_by", `doc->>a.${text}`)),
        post({ where: { or: [{ id: 1 }, { name: `eq.${text}` }] } }),
        post({ where: { or: [{ id: 1 }, { [text]: text }] } }),
        post({ where: { "not.or": text } }),
        post({ where: { [`doc->>${inQuotes(text)}`]: `eq.${text}` } }),
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

  /** Each operator on each column, each value of each option. */
  const harmless = [
    THINGS,
    ...names.flatMap((name) => {
      const filters = operators.flatMap((operator) => {
        if (operator.endsWith("like") && !patterned.has(name)) return []
        const value =
          operator === "is"
            ? "null"
            : operator === "in"
              ? `(${listItem(pools[name].at(-1)!)},${listItem(pools[name][0])})`
              : pools[name][1]
        return ["", "not."].map((not) => field(name, `${not}${operator}.${value}`))
      })
      return [
        filters.join("&"),
        field("order_by", quoted(name)),
        field("order_by", `-${quoted(name)}`),
        field("columns", quoted(name))
      ]
    }),
    ...["match", "imatch", "fts", "plfts", "phfts", "wfts", "fts(english)", "like(any)", "ilike(any)", "match(any)"].flatMap(
      (operator) => ["", "not."].map((not) => field("name", `${not}${operator}.${operator.endsWith("(any)") ? "{a,b}" : "a"}`))
    ),
    ...["cs", "cd", "ov"].map((operator) => field("tags", `${operator}.{1}`)),
    ...["cs", "cd"].map((operator) => field("doc", `${operator}.{}`)),
    ...["fts", "plfts", "phfts", "wfts"].map((operator) => field("doc", `${operator}.a`)),
    ...names.filter((name) => name !== "tags").map((name) => field(name, `eq(all).{${inQuotes(pools[name][1])}}`)),
    ...[
      "eq",
      "neq",
      "gt",
      "gte",
      "lt",
      "lte",
      "like",
      "ilike",
      "match",
      "imatch",
      "isdistinct",
      "fts",
      "plfts",
      "phfts",
      "wfts"
    ].map((operator) => field("or", `(id.eq.1,name.${operator}.a)`)),
    "name=in.()",
    "name=not.in.()",
    "name=like(any).{}",
    "name=eq(all).{}",
    field("or", "(id.eq.1,name.in.())"),
    field("or", "(id.eq.1,name.is.null)"),
    field("or", "(id.eq.1,name.in.(a))"),
    field("or", "(id.eq.1,name.like(any).{a})"),
    field("or", "(id.eq.1,name.eq(all).{a})"),
    field("doc->>a", "eq.a"),
    field("doc->a", "is.null"),
    field("columns", "id,doc->>a:label"),
    field("columns", "doc->a"),
    field("order_by", "doc->>a.desc.nullslast"),
    field("order_by", "-doc->>a"),
    "flag=is.true&flag=is.false&flag=not.is.unknown",
    "flag=not.is.true&flag=not.is.false&flag=is.unknown",
    "name=is.not_null&name=not.is.not_null",
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
  afterAll(async () => {
    expect(await attacked.stop()).toBe(0)
  })
  let source: { readonly url: string; readonly sql: postgres.Sql }
  const untouched = async () => {
    const [state] = await source.sql`select (select jsonb_agg(c order by id) from shop.canary c)::text as canary,
      (select md5(jsonb_agg(t order by id)::text) from shop.things t) as things,
      (select md5(string_agg(oid::text || relname || relfilenode::text, ' ' order by oid)) from pg_class where relkind <> 't') as relations,
      (select count(*)::int from pg_proc) as functions, (select string_agg(rolname, ' ' order by 1) from pg_authid) as roles`
    return state
  }

  test("is taken for one, or refused: the server runs no statement of another shape", async () => {
    source = await thingsDatabase()
    await logStatements(source.sql)
    const file = join(await temporaryDirectory(), "datasets.json")
    await writeFile(file, JSON.stringify({ datasets: { "shop.things": { hidden: ["secret"], labels: { id: "Number" } } } }))
    attacked = await startService({
      RATE_LIMIT_MAX: "10000",
      SOURCE_DATABASE_URL: source.url,
      EXPORT_DATASETS: "shop.things",
      DATASETS_FILE: file
    })
    const before = await untouched()
    const finished = (id: string) =>
      until(`export ${id} to end`, async () => {
        const { status, error } = await statusOf(attacked, id)
        return status === "failed" ? `failed: ${error}` : status === "completed" && status
      })
    const jobs: Array<Promise<string>> = []
    const ask = async (request: Attack) => {
      const response = await request(attacked)
      const text = await response.text()
      if (response.status === 202) jobs.push(finished((JSON.parse(text) as { exportId: string }).exportId))
      return { status: response.status, text }
    }

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
    await Promise.all(jobs)
    const benign = await loggedStatements(source.sql)
    const statuses = new Map<number, number>()
    const some = fc.array(attack, { minLength: 4, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(some, async (requests) => {
        for (const { status, text } of await Promise.all(requests.map(ask))) {
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          if (status >= 500 || /canary-(unseen|\d)/.test(text)) throw new Error(`${status} ${text}`)
        }
      }),
      { numRuns: 100, endOnFailure: true }
    )
    expect([...statuses.keys()].toSorted((a, b) => a - b)).toEqual([200, 202, 400, 404])
    expect(statuses.get(200)! + statuses.get(202)!).toBeGreaterThan(50)
    for (const ended of await Promise.all(jobs)) expect(ended).toBe("completed")

    const statements = (await loggedStatements(source.sql)).slice(benign.length)
    expect(statements.length).toBeGreaterThan(500)
    const known = new Set(benign.flatMap(shapesOf))
    expect([...new Set(statements.flatMap(shapesOf))].filter((shape) => !known.has(shape))).toEqual([])
    const identifiers = new Set(statements.filter((statement) => statement.startsWith("copy ")).flatMap(identifiersOf))
    const allowed = new Set([...names, "id", "shop", "things", "exported", "C", "path 0", "path 1"].map(quoted))
    expect([...identifiers].filter((one) => !allowed.has(one))).toEqual([])
    expect(await untouched()).toEqual(before)
  })

  test("would be seen, were it run", () => {
    const known = new Set(
      shapesOf(`copy (select "id" from "shop"."things" where "name" = 'a'::text::text) to stdout (format csv)`)
    )
    const fresh = (statement: string) => shapesOf(statement).filter((shape) => !known.has(shape)).length
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = 'it''s -- "x"'::text::text) to stdout (format csv)`)
    ).toBe(0)
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = 'a' or 1=1 --'::text::text) to stdout (format csv)`)
    ).toBe(1)
    expect(
      fresh(`copy (select "id" from "shop"."things" where "name" = ''; drop table x; --'::text::text) to stdout (format csv)`)
    ).toBe(1)
    expect(
      fresh(`copy (select "id", (select 1) from "shop"."things" where "name" = ''::text::text) to stdout (format csv)`)
    ).toBe(1)
  })
})
