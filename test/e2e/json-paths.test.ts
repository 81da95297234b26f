/** The value at a path in a JSON column is exported as COPY writes it, in any format, by COPY and by a cursor. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { copyCsv, download, jsonPost, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

const setup = String.raw`
  create schema j; create type j.pair as (a numeric(5,2), "b,c" text);
  create table j.t (id int primary key, doc jsonb, raw json, tags text[], made j.pair, "path 0" text);
  insert into j.t select n, (array['{"a": "=1+1", "b": {"c": [true, null, 1.50]}}', '{"a": "x,y\"z", "b": 12}', null, '[1, "two"]', '{"a": ""}'])[1 + n % 5]::jsonb,
    (array['{"a" :  [1,  2]}', '{"a": "é"}', null])[1 + n % 3]::json, array['t' || n, null], (n, 'c')::j.pair, 'p' || n
  from generate_series(1, 200) n;
  create table j.large as select n as id, jsonb_build_object('k', n % 97, 'filler', repeat('x', 80)) as doc from generate_series(1, 150000) n;
  analyze`

let services: ReadonlyArray<Service>
let sql: postgres.Sql
let database: string
beforeAll(async () => {
  database = await freshDatabase()
  sql = await connect(database, 2)
  await sql.unsafe(setup)
  const env = { SOURCE_DATABASE_URL: database, EXPORT_DATASETS: "j.*", RATE_LIMIT_MAX: "10000" }
  services = await Promise.all(["copy", "cursor"].map((EXPORT_SOURCE) => startService({ ...env, EXPORT_SOURCE })))
})
afterAll(async () => {
  for (const service of services) expect(await service.stop()).toBe(0)
})

const COLUMNS = 'doc->>a,doc->b:B,doc->b->c->>0:"c 0",doc->>-1:last,raw->a:raw,"tags"->>0:tag,made->>"b,c",made->a,"path 0",id'
const SELECT = `doc->>'a' as a, doc->'b' as "B", doc->'b'->'c'->>0 as "c 0", doc->>-1 as last, raw->'a' as raw, tags[1] as tag,
  (made)."b,c", to_jsonb((made).a) as a2, "path 0", id`
const HEADER = 'a,B,c 0,last,raw,tag,"b,c",a,path 0,id'

test.each<[format: string, options: string, force: string]>([
  ["", "", ""],
  ["&quote=text", "", `, force_quote (a, "B", "c 0", last, raw, tag, "b,c", a2, "path 0")`],
  ["&quote=all", "", ", force_quote *"],
  ["&delimiter=;&null=NULL", ", delimiter ';', null 'NULL'", ""]
])("as it is: %s", async (format, options, force) => {
  // Two paths end in the same key, and one has a label.
  const columns = encodeURIComponent(COLUMNS.replace("made->a", "made->a:a2"))
  for (const service of services) {
    const file = await (await fetch(`${service.url}/exports/csv?dataset=j.t&columns=${columns}&order_by=id${format}`)).text()
    const expected = String(await copyCsv({ ...service, database }, `select ${SELECT} from j.t order by id`, options + force))
    expect(file.slice(file.indexOf("\n"))).toBe(expected.slice(expected.indexOf("\n")))
    expect(file.slice(0, file.indexOf("\n")).replaceAll(/["]/g, "").replaceAll(";", ",")).toBe(
      HEADER.replace(",a,", ",a2,").replaceAll('"', "")
    )
  }
})

test("a path in a body is text as in a query, or an object with a label", async () => {
  const [service] = services
  const columns = ["id", { name: "doc->>a", label: "A, b" }, 'doc->"x,y"', { name: "path 0" }, 'doc->>"b":second']
  const created = await fetch(`${service!.url}/exports/csv`, jsonPost({ dataset: "j.t", columns, order_by: ["-doc->>a", "id"] }))
  expect(created.status).toBe(202)
  const { exportId } = (await created.json()) as { exportId: string }
  await reaches(service!, exportId, "completed")
  const select = `id, doc->>'a' as "A, b", doc->'x,y' as "x,y", "path 0", doc->>'b' as second`
  const expected = await copyCsv({ ...service!, database }, `select ${select} from j.t order by doc->>'a' desc, id`)
  expect(String(await download(service!, exportId))).toBe(String(expected))
})

test("formulas are escaped in text at a path as in any text", async () => {
  for (const service of services) {
    const query = "dataset=j.t&columns=doc-%3E%3Ea,id&formulas=escape&id=eq.5"
    expect(await (await fetch(`${service.url}/exports/csv?${query}`)).text()).toBe("a,id\n'=1+1,5\n")
  }
})

test("filters and orders by paths give the same rows if the table is read in parts", async () => {
  const query = new URLSearchParams({
    dataset: "j.large",
    columns: "id,doc->k,doc->>filler",
    or: "(doc->>k.not.in.(1,2),doc->k.gt(all).{90,95})",
    "doc->k": "not.eq.3"
  }).toString()
  const select = "select id, doc->'k' as k, doc->>'filler' as filler from j.large where (doc->>'k') not in ('1', '2', '3')"
  for (const service of services) {
    const source = { ...service, database }
    expect((await fetch(`${service.url}/exports/estimate?${query}`, { method: "POST" })).status).toBe(200)
    const plain = await (await fetch(`${service.url}/exports/csv?${query}`)).text()
    expect(plain.split("\n").toSorted()).toEqual(
      String(await copyCsv(source, select))
        .split("\n")
        .toSorted()
    )
    const sorted = await (await fetch(`${service.url}/exports/csv?${query}&order_by=-doc-%3Ek,id&total=500`)).text()
    expect(sorted).toBe(String(await copyCsv(source, `${select} order by doc->'k' desc, id limit 500`)))
  }
  const planned = services[0]!.log().filter(({ message }) => message === "export planned")
  expect(planned.some(({ annotations }) => (annotations["parts"] as number) > 3)).toBe(true)
})
