/** Sends requests that are made from /openapi.json to each of its operations, and checks the answers against it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Document } from "../../src/http/openapi/types.ts"
import { createExport, reaches, type ProblemDocument } from "../support/client.ts"
import { makeChecker, operationsOf, responseOf, wrongInBody, type DescribedOperation } from "../support/described.ts"
import { allowedBy, constOf, datasetOf, inQuery, sendTo, type Asked } from "../support/described-requests.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { startService, type Service } from "../support/service.ts"

setDefaultTimeout(60_000)

let service: Service
let document: Document
let operations: ReadonlyArray<DescribedOperation>
let check: ReturnType<typeof makeChecker>
let id: string
beforeAll(async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 1)
  await sql.unsafe(`
    delete from users where id > 100;
    create schema sales;
    create table sales.orders (id int primary key, customer text, tags text[], placed date);
    insert into sales.orders select n, 'c' || n, '{a,b}', '2026-01-01' from generate_series(1, 10) n;
    create table "odd ""{}"" /#" (id int primary key, "<b>" text, doc jsonb);
    comment on table sales.orders is 'What was ordered';
    analyze`)
  service = await startService({
    DATABASE_URL: database,
    EXPORT_DATASETS: 'public.users,sales.*,public."odd ""{}"" /#"',
    RATE_LIMIT_MAX: "10000"
  })
  document = (await (await fetch(`${service.url}/openapi.json`)).json()) as Document
  operations = operationsOf(document)
  check = makeChecker(document)
  id = await createExport(service, "?total=3")
  await reaches(service, id, "completed")
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const UNKNOWN = ["sort", "order", "__proto__"]
const pathValues = (): Readonly<Record<string, string>> => ({ id, name: "sales.orders", file: "guide.md" })
const ask = (one: DescribedOperation, { params, ...asked }: Asked) =>
  sendTo(service.url, one, { ...asked, params: { ...pathValues(), ...params } })

const problemOf = async (answer: Response) => (await answer.clone().json()) as ProblemDocument
const named = ({ method, path }: DescribedOperation) => `${method} ${path}`
const takesBody = ({ operation }: DescribedOperation) => operation.requestBody !== undefined

/** Returns the parameters of a query, without the common ones if the operation is that of one dataset. */
const ownOf = (one: DescribedOperation) => {
  const common = Object.keys(document.components.parameters!)
  return inQuery(one).filter(({ name }) => !one.path.includes("#") || !common.includes(name))
}

/** Runs the checks of several operations at once. */
const forEachOf = async <A>(all: ReadonlyArray<A>, run: (one: A) => Promise<void>) => {
  const waiting = all.values()
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const one of waiting) await run(one)
    })
  )
}

describe("an answer is as the document says", () => {
  test("to each operation, asked with its required parameters alone", async () => {
    for (const one of operations) {
      const params = one.method === "DELETE" ? { id: await createExport(service, "?total=1") } : {}
      const answer = await ask(one, { params })
      expect({ one: named(one), isFine: answer.ok }).toEqual({ one: named(one), isFine: true })
      await check(one, answer)
    }
  })

  test("to each value that a parameter of a query may have", async () => {
    const cases = operations.flatMap((one) => ownOf(one).map((parameter) => ({ one, parameter })))
    await forEachOf(cases, async ({ one, parameter }) => {
      const { name } = parameter
      // A job is asked for with one value of each, and a stream with every value.
      const values = one.method === "GET" ? allowedBy(parameter) : allowedBy(parameter).slice(0, 1)
      for (const value of values) {
        const answer = await ask(one, { query: `${name}=${encodeURIComponent(value)}` })
        // A decimal comma does not go with the default delimiter.
        if (name === "decimal" && value === ",") expect((await problemOf(answer)).errors).toMatchObject([{ field: name }])
        else expect({ one: named(one), name, value, isFine: answer.ok }).toEqual({ one: named(one), name, value, isFine: true })
        await check(one, answer)
      }
    })
  })

  test("to a body with filters, and with each member for which there are values", async () => {
    await forEachOf(operations.filter(takesBody), async (one) => {
      const members = ownOf(one).filter(({ schema }) => schema["type"] !== "array" && !("const" in schema))
      const bodies = [
        { columns: ["id"], where: { or: [{ id: "lt.3" }, { id: 7 }] }, total: 5 },
        ...members.flatMap((parameter) =>
          allowedBy(parameter)
            .slice(0, 1)
            .map((value) => ({ [parameter.name]: value }))
        )
      ]
      for (const body of bodies) {
        const answer = await ask(one, { body: JSON.stringify({ ...datasetOf(one), ...body }) })
        expect({ one: named(one), body, isFine: answer.ok }).toEqual({ one: named(one), body, isFine: true })
        await check(one, answer)
      }
    })
  })

  const accepted: ReadonlyArray<object> = [
    { where: { id: null } },
    { where: { id: ["gt.1", null] } },
    { where: { id: 7, '"name"': "like.A*" } },
    { where: { or: [{ id: "lt.3" }, { "not.and": [{ id: ["gt.5", "lt.9"] }] }] } },
    { total: "1" },
    { limit: 1 },
    { bom: "true" },
    { bom: false },
    { delimiter: 1 },
    { null: 0 },
    { columns: "id,name:Name" },
    { columns: ["id", { name: "name", label: "Name" }] }
  ]
  test.each(accepted)("to the body %j, which the document allows", async (body) => {
    const ofUsers = { min_ltv: 0.1 }
    for (const one of operations.filter((each) => takesBody(each) && !/#(?!dataset=users)/.test(each.path))) {
      const sent = { ...body, ...ofUsers }
      const answer = await ask(one, { body: JSON.stringify(sent) })
      const wrong = wrongInBody(document, one, sent)
      expect({ one: named(one), sent, isFine: answer.ok, wrong }).toEqual({ one: named(one), sent, isFine: true, wrong: [] })
    }
  })

  const refusedBodies: ReadonlyArray<object> = [
    { where: { no_such_column: 1 } },
    { where: { id: [] } },
    { where: { id: "" } },
    { where: { or: [] } },
    { where: 7 },
    { columns: "" },
    { columns: [] },
    { timezone: "" },
    { total: 0 },
    { bom: "yes" },
    { no_such_member: 1 }
  ]
  test.each(refusedBodies)("to the body %j, which the document refuses for a dataset", async (body) => {
    const one = operations.find(({ path, method }) => path === "/exports/csv#dataset=users" && method === "POST")!
    const answer = await ask(one, { body: JSON.stringify(body) })
    expect({ body, status: answer.status }).toEqual({ body, status: 400 })
    expect(wrongInBody(document, one, body)).not.toEqual([])
  })

  test("to each header of a request that the document describes", async () => {
    const download = operations.find(({ path }) => path === "/exports/{id}/download")!
    const events = operations.find(({ path }) => path === "/exports/{id}/events")!
    const whole = await ask(download, {})
    const etag = whole.headers.get("ETag")!
    await check(download, whole)
    const asked: ReadonlyArray<readonly [DescribedOperation, Record<string, string>, number]> = [
      [download, { Range: "bytes=0-3" }, 206],
      [download, { Range: "bytes=99999-" }, 416],
      [download, { "If-None-Match": etag }, 304],
      [download, { "If-Match": '"other"' }, 412],
      [download, { "Want-Repr-Digest": "sha-256=1" }, 200],
      [download, { "Accept-Encoding": "gzip" }, 200],
      [events, { "Last-Event-ID": "final" }, 204],
      ...operations
        .filter(({ path }) => /^\/(openapi|docs)/.test(path))
        .map((one) => [one, { "If-None-Match": "*" }, 304] as const)
    ]
    for (const [one, headers, status] of asked) {
      expect(one.parameters.map(({ name }) => name)).toContain(Object.keys(headers)[0]!)
      const answer = await ask(one, { headers })
      expect({ one: named(one), headers, status: answer.status }).toEqual({ one: named(one), headers, status })
      await check(one, answer)
    }
  })
})

/** Expects a refusal of this status, and the field that it names. */
const refused = async (one: DescribedOperation, asked: Asked, status: number, field?: string) => {
  const answer = await ask(one, asked)
  const problem = await problemOf(answer)
  expect({ one: named(one), asked, status: answer.status }).toEqual({ one: named(one), asked, status })
  if (field !== undefined)
    expect({ asked, fields: problem.errors.map((error) => error.field) }).toEqual({ asked, fields: [field] })
  await check(one, answer)
}

describe("a refusal is as the document says", () => {
  test("of a parameter that is unknown, empty, given twice or of another kind", async () => {
    await forEachOf(operations, async (one) => {
      for (const name of UNKNOWN) await refused(one, { query: `${name}=1` }, 400, name)
      for (const parameter of ownOf(one).filter(({ name }) => name !== "filters")) {
        const { name, schema } = parameter
        const value = constOf(parameter) ?? allowedBy(parameter)[0] ?? "x"
        // A filter may come twice if it has an operator, and a list of filters in any case.
        const twice = schema["type"] === "array" ? "x" : encodeURIComponent(value)
        const isList = /^(not\.)?(and|or)$/.test(name)
        const isChoice = schema["type"] === "integer" || schema["enum"] !== undefined
        const queries = [
          `${name}=`,
          `${name}=%zz`,
          ...(isList ? [] : [`${name}=${twice}&${name}=${twice}`]),
          ...(isChoice ? [`${name}=no-such-value`] : [])
        ]
        for (const query of queries) await refused(one, { query }, 400, name)
      }
    })
  })

  test("of a body with unknown or repeated members, with members of another type, and of one that is no JSON object", async () => {
    await forEachOf(operations.filter(takesBody), async (one) => {
      const bodyWith = (name: string, json: string) =>
        `${JSON.stringify(datasetOf(one)).slice(0, -1)},"${name}":${json}}`.replace("{,", "{")
      const { schema } = one.operation.requestBody!.content["application/json"]!
      const { properties = {} } = document.components.schemas["ExportOptions"]!
      const names = [...Object.keys(properties), ...Object.keys(schema.properties ?? {})]
      for (const name of UNKNOWN) await refused(one, { body: bodyWith(name, "1") }, 400, name)
      for (const name of names.filter((each) => each !== "dataset"))
        await refused(one, { body: bodyWith(name, name === "where" ? "7" : "{}") }, 400, name)
      for (const body of ["{", "[]", '"x"', '{"total":1,"total":1}']) await refused(one, { body }, 400)
      await refused(one, { body: "{}", query: "total=1" }, 400)
      await refused(one, { body: "x=1", headers: { "Content-Type": "text/plain" } }, 415)
    })
  })

  test("of a path with a name that does not exist", async () => {
    for (const one of operations.filter(({ path }) => path.includes("{"))) {
      for (const none of ["6f1c2a34-0000-4000-8000-00000000beef", "none", "%00"])
        await refused(one, { params: { id: none, name: none, file: none } }, 404)
    }
  })

  test("of an export that has no file", async () => {
    const download = operations.find(({ path }) => path === "/exports/{id}/download")!
    const gone = await createExport(service, "?total=1")
    await fetch(`${service.url}/exports/${gone}`, { method: "DELETE" })
    await refused(download, { params: { id: gone } }, 410)
  })

  test("of a page of another origin, another host and a long URL", async () => {
    for (const one of operations) {
      const asked = { params: { id: crypto.randomUUID() } }
      if (one.method !== "GET") await refused(one, { ...asked, headers: { Origin: "https://example.com" } }, 403)
      if (!/^\/(health|ready)$/.test(one.path)) await refused(one, { ...asked, headers: { Host: "example.com" } }, 421)
      await refused(one, { ...asked, query: `x=${"1".repeat(17_000)}` }, 414)
    }
  })
})

describe("the routes are those of the document", () => {
  test("with the methods that it lists, under each of its servers, and no other", async () => {
    for (const [path, item] of Object.entries(document.paths).filter(([key]) => !key.includes("#"))) {
      const methods = Object.keys(item).filter((key) => key !== "servers")
      const allowed = methods.flatMap((method) => (method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()]))
      const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => pathValues()[name]!)
      const servers = "servers" in item ? (item["servers"] as Document["servers"]) : document.servers
      for (const { url } of document.servers) {
        const answer = await fetch(`${service.url}${url.replace(/\/$/, "")}${target}`, { method: "PATCH" })
        const isThere = servers.some((server) => server.url === url)
        expect({ url, path, status: answer.status }).toEqual({ url, path, status: isThere ? 405 : 404 })
        if (isThere) expect(answer.headers.get("Allow")?.split(", ").toSorted()).toEqual(allowed.toSorted())
      }
    }
  })

  test.each(["identity", "gzip"])("and HEAD says all that GET says, without a body, in the coding %s", async (coding) => {
    for (const one of operations.filter(({ method }) => method === "GET")) {
      const headers = { "Accept-Encoding": coding }
      const get = await ask(one, { headers })
      const head = await ask({ ...one, method: "HEAD" }, { headers })
      const { headers: documented = {} } = responseOf(document, one, get.status)
      const said = ({ status, headers: all }: Response) => ({
        one: named(one),
        status,
        // The window goes on from one request to the next.
        headers: Object.fromEntries(
          ["Content-Type", "Content-Length", "ETag", ...Object.keys(documented)].map((name) => [
            name,
            name === "RateLimit" ? all.get(name)?.replaceAll(/\d+/g, "N") : all.get(name)
          ])
        )
      })
      expect({ ...said(head), body: await head.text() }).toEqual({ ...said(get), body: "" })
      await get.body?.cancel()
    }
  })
})
