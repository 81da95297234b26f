/** PostgREST's grammar of filters, columns and orders, each example beside the SQL that it stands for. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { parse } from "csv-parse/sync"
import type postgres from "postgres"
import { download, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

const setup = String.raw`
  create schema g;
  create type g.pair as (a int, b text);
  create table g.t (id int primary key, name text, n numeric, flag boolean, tags text[], span int4range, spans int4multirange,
    doc jsonb, raw json, words tsvector, made g.pair, "or" text, "a.desc" int, "odd, ""name""" text, "doc->>kind" text);
  insert into g.t select n,
    (array['Ada', 'Bob', 'a"b', '"a"', 'x,y', '(p)', 'fts.x', 'EQ.x', 'the cat sat', 'fat cats', '', null, 'e\f', 'not.x'])[1 + n % 14],
    n * 1.5, (array[true, false, null])[1 + n % 3],
    (array['{a,b}', '{b}', '{}', null, '{"x,y","(z)"}'])[1 + n % 5]::text[],
    (array['[1,5)', '[5,9)', 'empty', null, '[20,30)', '(,3)'])[1 + n % 6]::int4range,
    (array['{[1,5),[7,9)}', '{}', null, '{[20,30)}'])[1 + n % 4]::int4multirange,
    (array['{"kind": "a", "list": [1, {"deep": "x"}], "n": 10}', '{"kind": "b", "list": [], "n": 9}', '{"kind": null}', null,
      '{"a.b": {"c,d": "quoted"}, "kind": "a"}', '[1, 2, 3]'])[1 + n % 6]::jsonb,
    (array['{"kind": "a", "list": [1, 2]}', null])[1 + n % 2]::json,
    to_tsvector('english', (array['the cats sat', 'a dog', 'cat and dog'])[1 + n % 3]),
    (n % 7, 'b' || n % 4)::g.pair, (array['5', '(5)'])[1 + n % 2], -n % 10, 'odd ' || n % 3, 'literal ' || n % 3
  from generate_series(0, 83) n`

let service: Service
let sql: postgres.Sql
beforeAll(async () => {
  const url = await freshDatabase()
  sql = await connect(url, 2)
  await sql.unsafe(setup)
  service = await startService({ RATE_LIMIT_MAX: "10000", DATABASE_URL: url, EXPORT_DATASETS: "g.t" })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

type Pairs = ReadonlyArray<readonly [name: string, value: string]>
const stream = (...pairs: Pairs) =>
  fetch(`${service.url}/exports/csv?${new URLSearchParams([["dataset", "g.t"], ...pairs] as Array<[string, string]>).toString()}`)
const post = (path: string, body: object) =>
  fetch(`${service.url}/exports/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ dataset: "g.t", ...body })
  })
const idsByHand = async (where: string, order = "id") =>
  (await sql.unsafe(`select id from g.t where ${where} order by ${order}`)).map(({ id }) => id as number)
/** Returns the ids of a stream, which must be answered with 200. */
const idsOf = async (answer: Promise<Response>) => {
  const response = await answer
  const text = await response.text()
  expect([response.status, response.status === 200 ? "" : text]).toEqual([200, ""])
  return text.split("\n").slice(1, -1).map(Number)
}

describe("a filter gives the rows of SQL written by hand", () => {
  test.each<[name: string, filter: string, where: string]>([
    ["name", "match.^.[do]", "name ~ '^.[do]'"],
    ["name", "imatch.^A", "name ~* '^A'"],
    ["name", "not.match.^A", "not name ~ '^A'"],
    ["name", "like(any).{A*,*b}", "name like any (array['A%', '%b'])"],
    ["name", "ilike(all).{*A*,*d*}", "name ilike all (array['%A%', '%d%'])"],
    ["name", "match(any).{^A,b$}", "name ~ any (array['^A', 'b$'])"],
    ["name", `eq(any).{Ada,"x,y","a\\"b"}`, `name in ('Ada', 'x,y', 'a"b')`],
    ["id", "not.eq(any).{1,2, 3 }", "id not in (1, 2, 3)"],
    ["id", "gt(all).{1,50}", "id > 50"],
    ["id", "lte(any).{1,50}", "id <= 50"],
    ["id", "eq(any).{}", "false"],
    ["id", "gt(all).{}", "true"],
    ["id", "in.()", "false"],
    ["id", "not.in.()", "true"],
    ["name", 'in.(a"b,Ada)', `name in ('a"b', 'Ada')`],
    ["name", 'in.("x,y",(p,"")', "name in ('x,y', '(p', '')"],
    ["name", 'in.("a"b,"\\"a\\"")', `name = '"a"'`],
    ["name", "is.NULL", "name is null"],
    ["name", "not.is.Not_Null", "name is null"],
    ["flag", "is.TRUE", "flag is true"],
    ["flag", "is.Unknown", "flag is unknown"],
    ["name", "eq.fts.x", "name = 'fts.x'"],
    ["name", "eq.EQ.x", "name = 'EQ.x'"],
    ["name", "fts.cat", "to_tsvector(name) @@ to_tsquery('cat')"],
    ["name", "fts(english).cat & sat", "to_tsvector('english', name) @@ to_tsquery('english', 'cat & sat')"],
    ["name", "plfts(english).the fat cats", "to_tsvector('english', name) @@ plainto_tsquery('english', 'the fat cats')"],
    ["name", "phfts(english).cat sat", "to_tsvector('english', name) @@ phraseto_tsquery('english', 'cat sat')"],
    ["name", "wfts(english).cat -sat", "to_tsvector('english', name) @@ websearch_to_tsquery('english', 'cat -sat')"],
    ["name", "not.fts(simple).cats", "not to_tsvector('simple', name) @@ to_tsquery('simple', 'cats')"],
    ["words", "fts(english).cats", "words @@ to_tsquery('english', 'cats')"],
    ["doc", "fts(english).quoted", "to_tsvector('english', doc) @@ to_tsquery('english', 'quoted')"],
    ["raw", "plfts(simple).a", "to_tsvector('simple', raw) @@ plainto_tsquery('simple', 'a')"],
    ["tags", "cs.{b}", "'b' = any (tags)"],
    ["tags", "cd.{a,b,c}", "tags <@ '{a,b,c}'"],
    ["tags", 'ov.{"x,y",a}', "tags && array['x,y', 'a']"],
    ["tags", "not.ov.{a}", "not tags && '{a}'"],
    ["span", "cs.[2,4)", "span @> '[2,4)'"],
    ["span", "cd.[0,10)", "span <@ '[0,10)'"],
    ["span", "ov.[4,6]", "span && '[4,6]'"],
    ["span", "sl.[6,10)", "span << '[6,10)'"],
    ["span", "sr.[0,4]", "span >> '[0,4]'"],
    ["span", "nxr.[0,6)", "span &< '[0,6)'"],
    ["span", "nxl.[2,9)", "span &> '[2,9)'"],
    ["span", "adj.[9,12)", "span -|- '[9,12)'"],
    ["spans", "cs.{[7,8)}", "spans @> '{[7,8)}'::int4multirange"],
    ["spans", "sr.{[0,6)}", "spans >> '{[0,6)}'::int4multirange"],
    ["doc", 'cs.{"kind":"a"}', `doc @> '{"kind":"a"}'`],
    ["doc", 'cd.{"kind":"b","list":[],"n":9,"m":1}', `doc <@ '{"kind":"b","list":[],"n":9,"m":1}'`],
    ["doc->>kind", "eq.a", "doc->>'kind' = 'a'"],
    ["doc->kind", 'eq."a"', `doc->'kind' = '"a"'`],
    ["doc->n", "gte.9", "doc->'n' >= '9'"],
    ["doc->list->0", "eq.1", "doc->'list'->0 = '1'"],
    ["doc->list->-1->>deep", "eq.x", "doc->'list'->-1->>'deep' = 'x'"],
    ['doc->"a.b"->>"c,d"', "like.quo*", "doc->'a.b'->>'c,d' like 'quo%'"],
    ["doc->>0", "eq.1", "doc->>0 = '1'"],
    ["doc->kind", "is.null", "doc->'kind' is null"],
    ["doc->list", "cs.[1]", "doc->'list' @> '[1]'"],
    ["raw->>kind", "in.(a,b)", "raw->>'kind' in ('a', 'b')"],
    ["raw->list->>1", "not.is.null", "raw->'list'->>1 is not null"],
    ["tags->>0", "eq.a", "tags[1] = 'a'"],
    ["made->>b", "eq.b2", "(made).b = 'b2'"],
    ["made->a", "gt.4", "(made).a > 4"],
    ['"odd, ""name"""', "eq.odd 1", `"odd, ""name""" = 'odd 1'`],
    ["or", "eq.5", `"or" = '5'`],
    ['"or"', "eq.(5)", `"or" = '(5)'`],
    ["a.desc", "lt.-3", `"a.desc" < -3`],
    ["or", "(id.lt.3,id.gt.80)", "id < 3 or id > 80"],
    ["and", "(id.gte.3,id.lt.9)", "id >= 3 and id < 9"],
    ["not.or", "(id.lt.3,name.is.null)", "not (id < 3 or name is null)"],
    ["not.and", "(id.lt.30,flag.is.true)", "not (id < 30 and flag is true)"],
    [
      "or",
      "(id.eq.1,and(id.gt.10,id.lt.20),not.and(id.lt.80,id.gte.0))",
      "id = 1 or (id > 10 and id < 20) or not (id < 80 and id >= 0)"
    ],
    [
      "or",
      '(name.eq."x,y",name.eq."(p)",name.in.("a\\"b",Ada),name.not.is.not_null)',
      `name in ('x,y', '(p)', 'a"b', 'Ada') or name is null`
    ],
    ["or", "( id.eq.1 , id.in.( 2,3 ) , flag.is.true )", "id in (1, 2, 3) or flag"],
    [
      "or",
      '(tags.cs.{a,b},span.cs."[2,4)",doc->>kind.eq.b,"odd, ""name""".like.*2,doc->"a.b"->>"c,d".eq.quoted)',
      `tags @> '{a,b}' or span @> '[2,4)' or doc->>'kind' = 'b' or "odd, ""name""" like '%2' or doc->'a.b'->>'c,d' = 'quoted'`
    ],
    [
      "or",
      "(id.eq(any).{1,2},name.fts(english).cat,name.like(all).{A*,*a})",
      "id in (1, 2) or to_tsvector('english', name) @@ to_tsquery('english', 'cat') or name = 'Ada'"
    ],
    ["or", '(or.eq.5,"or".eq."(5)")', "true"],
    ["or", "(name.eq.,id.eq.7)", "name = '' or id = 7"]
  ])("%s=%s", async (name, filter, where) => {
    const expected = await idsByHand(where)
    expect(await idsOf(stream(["columns", "id"], ["order_by", "id"], [name, filter]))).toEqual(expected)
    if (where !== "false") expect(expected.length).toBeGreaterThan(0)
  })

  test.each<[where: object, byHand: string]>([
    [{ or: [{ id: "lte.10" }, { id: "gt.80" }], flag: "is.true" }, "(id <= 10 or id > 80) and flag"],
    [{ or: [{ id: ["gte.3", "lt.9"], flag: "is.true" }, { id: 50 }] }, "id >= 3 and id < 9 and flag or id = 50"],
    [{ "not.or": [{ id: "lt.80" }, { "not.and": [{ id: "gt.2" }, { flag: true }] }] }, "not (id < 80 or not (id > 2 and flag))"],
    [{ and: [{ or: [{ id: 1 }, { id: 2 }] }, { or: [{ id: 2 }, { id: 3 }] }] }, "id = 2"],
    [{ or: "eq.5", "doc->>kind": "eq.a" }, `"or" = '5' and doc->>'kind' = 'a'`],
    [{ or: ["eq.5", "neq.7"] }, `"or" = '5'`],
    [{ or: [{ or: "eq.(5)" }, { name: null }] }, `"or" = '(5)' or name is null`]
  ])("in the body of a POST: %j", async (where, byHand) => {
    const created = await post("csv", { columns: ["id"], order_by: "id", where })
    const { exportId } = (await created.json()) as { exportId: string }
    await reaches(service, exportId, "completed")
    const expected = await idsByHand(byHand)
    expect(String(await download(service, exportId))).toBe(`id\n${expected.map((id) => `${id}\n`).join("")}`)
    expect(expected.length).toBeGreaterThan(0)
  })
})

describe("columns", () => {
  test("may be paths, and the header shows their last key or their label", async () => {
    const columns = `id,doc->kind,doc->>kind:Kind,doc->list->1->>deep,raw->list->>-1:"last, one",tags->>0:tag,made->>b,doc->>0:first`
    const response = await stream(["columns", columns], ["order_by", "id"])
    const text = await response.text()
    expect(text.slice(0, text.indexOf("\n"))).toBe('id,kind,Kind,deep,"last, one",tag,b,first')
    const select = `id, doc->'kind', doc->>'kind', doc->'list'->1->>'deep', raw->'list'->>-1, tags[1], (made).b, doc->>0`
    const texts = select.replaceAll("doc->'kind'", "(doc->'kind')::text")
    const expected = await sql.unsafe(`select ${texts} from g.t order by id`).values()
    const rows = parse(text) as ReadonlyArray<ReadonlyArray<string>>
    expect(rows.slice(1)).toEqual(expected.map((row) => row.map((cell: string | number | null) => String(cell ?? ""))))
  })
})

describe("order_by", () => {
  test.each<[order: string, byHand: string]>([
    ["name.desc,id", "name desc, id"],
    ["name.desc.nullslast,id.desc", "name desc nulls last, id desc"],
    ["name.nullsfirst,id.asc", "name nulls first, id"],
    ["-name.nullslast,-id", "name desc nulls last, id desc"],
    ["doc->>kind.desc,id", "doc->>'kind' desc, id"],
    ["doc->n.nullsfirst,-id", "doc->'n' nulls first, id desc"],
    ['doc->"a.b"->>"c,d".asc.nullsfirst,id', "doc->'a.b'->>'c,d' nulls first, id"],
    ['"a.desc",id', `"a.desc", id`],
    ['"a.desc".desc,id', `"a.desc" desc, id`],
    ["a.desc.desc,id", `"a.desc" desc, id`],
    ["a.desc,id", `"a.desc", id`],
    ['"doc->>kind".desc,id', `"doc->>kind" desc, id`]
  ])("%s", async (order, byHand) => {
    expect(await idsOf(stream(["columns", "id"], ["order_by", order]))).toEqual(await idsByHand("true", byHand))
  })
})

describe("a wrong filter, order or list of columns is a 400 with what is allowed", () => {
  const text = "eq, neq, gt, gte, lt, lte, in, isdistinct, like, ilike, match, imatch, fts, plfts, phfts, wfts, is"
  const unknown = (filter: string) =>
    `has an unknown operator in "${filter}"; the operators of type text are ${text}; to compare with that value itself, write "eq.${filter}"`
  test.each<[name: string, filter: string, detail: string | RegExp]>([
    ["name", "EQ.x", unknown("EQ.x")],
    ["name", "ge.x", unknown("ge.x")],
    ["name", "not.x", unknown("not.x")],
    ["name", "NOT.eq.x", unknown("NOT.eq.x")],
    ["name", "not.EQ.x", unknown("not.EQ.x")],
    ["name", "is_not.null", unknown("is_not.null")],
    ["name", "foo(any).x", unknown("foo(any).x")],
    ["name", "in(1,2)", unknown("in(1,2)")],
    ["name", "john.doe@example.com", unknown("john.doe@example.com")],
    ["name", "IS.null", unknown("IS.null")],
    ["name", "cs.x", /^cannot be filtered by cs: its type text has the operators eq, .*"eq\.cs\.x"$/],
    ["id", "fts.x", /^cannot be filtered by fts: its type integer has the operators eq, /],
    ["doc", "ov.{}", /^cannot be filtered by ov: /],
    ["name", "like(some).{a}", /^must have like\(any\) or like\(all\), not "some"/],
    ["name", "neq(any).{a}", /^cannot have "neq\(any\)"; on type text eq, gt, gte, lt, lte, like, ilike, match, imatch may have/],
    ["name", "fts(2147483648).x", /^must name a language such as fts\(english\), not "2147483648"/],
    ["name", "fts(no-such).x", /^must name a language such as fts\(english\), not "no-such"/],
    ["name", "fts(klingon).x", /text search configuration "klingon" does not exist/],
    ["name", "fts.a b", /^must be a text search: syntax error in tsquery: "a b"/],
    ["name", "match.(", /^must be a regular expression: invalid regular expression: parentheses \(\) not balanced/],
    ["name", "eq(any).a", /^must be a list such as \{a,"b,c"\}, not "a"/],
    ["name", "eq(any).{{a}}", /^must be a list such as/],
    ["name", "like(any).{a\\\\}", /^must not end in a backslash/],
    ["name", "is.true", /^must be is\.null or is\.not_null, not/],
    ["name", "is.nullx", /^must be is\.null or is\.not_null, not/],
    ["tags", "eq(any).{a}", /^cannot have "eq\(any\)"; on type text\[\] no operator may have/],
    ["span", "cs.[a,b]", /^must be of type int4range: invalid input syntax for type integer: "a"/],
    ["tags", "cs.{a", /^must be of type text\[\]: malformed array literal/],
    ["doc", "cs.{", /^must be of type jsonb: invalid input syntax for type json/],
    ["name->a", "eq.1", /^cannot be followed: name is of type text, and only JSON, arrays and composite values have paths/],
    ["doc->>a->b", "eq.1", /^cannot be followed: only the last arrow of a path can be ->>/],
    ["doc->99999999999", "eq.1", /a position is at most/],
    ["raw->a", "eq.1", /^cannot be filtered by eq: its type json has the operators fts/],
    ["or", "(id.eq.1", /^must be a list of filters such as .*; it ends too early$/],
    ["or", "(id.eq.1)x", /not "x" in it$/],
    ["or", "()", /^must be a list of filters/],
    ["and", "id.eq.1", /^must be a list of filters/],
    ["or", "(id.1)", /^must be a list of filters/],
    ["or", "(id.eq.x,flag.eq.y,none.eq.1)", /^holds a filter on none that is not a filterable column/],
    [
      "or",
      "(id.eq.x,flag.eq.z)",
      /^holds a filter on id that must be of type integer: .*; holds a filter on flag that must be of type boolean: /
    ],
    ["or", "(id.like.x,flag.eq.y)", /^holds a filter on id that cannot be filtered by like/],
    ["select", "id", /columns says which columns/],
    ["order", "id", /order_by says how an export is sorted/],
    ["offset", "10", /one snapshot and has no pages/],
    ["order_by", "-name.desc", /gives two directions for "name\.desc": a minus and desc/],
    ["order_by", "raw->a", /cannot sort by "raw->a": its type json has no order/],
    ["order_by", "name.down", /has the unknown column "name\.down"/],
    ["columns", "doc->kind,doc->>kind", /has two columns with the title "kind"; give one of them a label/],
    ["columns", "doc->kind,doc->kind:x", /has the column "doc->kind" twice/],
    ["columns", "doc->>kind.desc", /says how to sort by "doc->>kind", which order_by does/],
    ["columns", "name->a", /cannot have "name->a": name is of type text/],
    ["columns", "id::text", /must be a list such as id,email/],
    ["columns", "doc->kind::text:x", /must be a list such as id,email/],
    ["columns", "id:a:b", /must be a list such as id,email/],
    ["name", "eq.\ufffd", /contains U\+FFFD/]
  ])("%s=%s", async (name, filter, detail) => {
    const response = await stream([name, filter])
    const { status, errors } = (await response.json()) as ProblemDocument
    const expected = typeof detail === "string" ? detail : expect.stringMatching(detail)
    expect([status, ...errors]).toEqual([400, { field: name, detail: expected }])
  })
})

test("a list in a body whose items have no operator is refused, since no column is equal to several values", async () => {
  for (const where of [{ id: [1, 2] }, { id: ["1", "2"] }, { or: [{ id: ["gte.1", 2] }] }]) {
    const response = await fetch(`${service.url}/exports/csv`, jsonPost({ dataset: "g.t", where }))
    const { errors } = (await response.json()) as ProblemDocument
    expect([response.status, errors.map(({ detail }) => detail)]).toEqual([
      400,
      [expect.stringContaining("each needs its operator")]
    ])
  }
})
