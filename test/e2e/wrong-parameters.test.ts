/** A parameter of any route that is unknown, repeated or without a value is a 400 that names it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { operationParameters } from "../support/endpoints.ts"
import { createExport, reaches, statusOf } from "../support/client.ts"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"

setDefaultTimeout(60_000)

let service: Service
let id: string
beforeAll(async () => {
  service = await startService({ RATE_LIMIT_MAX: "10000" })
  id = await createExport(service, "?total=1")
  await reaches(service, id, "completed")
})
afterAll(async () => {
  // No wrong request created or removed an export.
  const { exports } = (await (await fetch(`${service.url}/exports`)).json()) as { exports: ReadonlyArray<{ exportId: string }> }
  expect(exports.map(({ exportId }) => exportId)).toEqual([id])
  expect((await statusOf(service, id)).status).toBe("completed")
  expect(await service.stop()).toBe(0)
})

/** A valid value of each parameter of a query. */
const right = new URLSearchParams(
  "country_code=US&subscription_tier=free&min_ltv=99.95&columns=id,name&dataset=users&order_by=-id&total=1&limit=1" +
    "&profile=rfc4180&delimiter=;&quoteChar='&quote=all&null=NULL&newline=lf&bom=true&header=names&formulas=keep" +
    "&timezone=UTC&datetime=iso8601&boolean=1/0&binary=hex&decimal=.&encoding=utf-8&apiKey=k&errorRow=true&cursor=czE"
)
/** Filters. A bare value may occur once. */
const filters = [
  ["id", "5"],
  ["email", "a@example.com"]
] as const
type Pairs = ReadonlyArray<readonly [name: string, value: string]>
const rightOf = (names: ReadonlyArray<string>): Pairs =>
  names.map((name) => {
    const value = right.get(name)
    if (value === null) throw new Error(`there is no value for ${name}`)
    return [name, value]
  })
const exportParameters = rightOf(operationParameters.find(({ method, isExport }) => method === "POST" && isExport)!.names)

/** Methods and paths (ID stands for that of the export), with the parameters and the filters that they take. */
const routes = operationParameters
  .filter(({ path }) => /^\/(exports|datasets)/.test(path))
  .map(({ method, path, names, isExport }) => {
    const target = path.replace("{id}", "ID").replace("{name}", "users")
    return [method, target, rightOf(names), isExport ? filters : []] as const
  })

describe.each(["", "/api/v1"])("under %p", (prefix) => {
  test.each(routes)("%s %s", async (method, path, parameters, more) => {
    const target = prefix + path.replace("ID", id)
    /** Expects that the query is refused because of these parameters, and returns what is wrong with the first. */
    const refused = async (query: string, ...fields: ReadonlyArray<string>) => {
      const problem = expectProblem(await send(service.url, { method, target: `${target}?${query}` }), 400)
      expect([query, ...problem.errors.map(({ field }) => field)]).toEqual([query, ...fields])
      expect(problem.instance).toBe(target)
      for (const { field, detail } of problem.errors) expect(problem.detail).toContain(`${field} ${detail}`)
      if (method === "GET") {
        expect((await send(service.url, { method: "HEAD", target: `${target}?${query}` })).status).toBe(400)
      }
      return problem.errors[0]!.detail
    }

    const names = parameters.map(([name]) => name)
    for (const name of ["sort", "X", ...(names.length > 0 ? [names[0]!.toUpperCase()] : ["total"])]) {
      const allowed = await refused(`${name}=1`, name)
      expect(allowed).toStartWith("is not a parameter; ")
      if (names.length === 0) expect(allowed).toContain("none is allowed here")
      // The names are compared in any order.
      else expect(names.filter((one) => !new RegExp(String.raw`\b${one}\b`).test(allowed))).toEqual([])
    }
    await refused("sort=1&offset=2&sort=3", "sort", "offset")
    for (const query of ["sort=", "sort"]) expect(await refused(query, "sort")).toContain("is empty")
    for (const [name, value] of [...parameters, ...more]) {
      const pair = `${name}=${encodeURIComponent(value)}`
      expect(await refused(`${pair}&${pair}`, name)).toBe("is given more than once")
      for (const query of [`${name}=`, name]) expect(await refused(query, name)).toContain("is empty")
      expect(await refused(`${pair}&sort=1`, "sort")).toStartWith("is not a parameter; ")
    }
  })

  test.each(["/exports", "/exports/csv", "/exports/estimate"])("a member of a body: POST %s", async (path) => {
    const refused = async (body: string, ...fields: ReadonlyArray<string>) => {
      const { errors } = expectProblem(await send(service.url, { method: "POST", target: prefix + path, body }), 400)
      expect([body, ...errors.map(({ field }) => field)]).toEqual([body, ...fields])
      return errors[0]!.detail
    }
    expect(await refused('{"sort":1}', "sort")).toContain("allowed are")
    for (const [name, value] of exportParameters) {
      const member = `${JSON.stringify(name)}:${JSON.stringify(value)}`
      expect(await refused(`{${member},${member}}`, name)).toBe("is given more than once")
      expect(await refused(`{${JSON.stringify(name)}:""}`, name)).toContain("is empty")
      expect(await refused(`{${member},"sort":1}`, "sort")).toContain("allowed are")
    }
    expect(await refused('{"where":{"id":""}}', "where.id")).toContain("is empty")
    expect(await refused('{"where":{"no_such":"5"}}', "where.no_such")).toContain("filterable: id, name, email,")
    expect(await refused('{"id":"5"}', "id")).toBe("is a column: filter by it in `where`")
    expect(await refused('{"wher":{}}', "wher")).toContain("allowed are")
    expect(await refused('{"dataset":{}}', "dataset")).toBe("must be one of users, not {}")
    expect(await refused('{"timezone":null}', "timezone")).toStartWith("must be an IANA time zone")
    expect(await refused('{"total":[5]}', "total")).toStartWith("must be a whole number from 1 to ")
    expect(await refused('{"columns":[{"nam":"id"}]}', "columns")).toContain('objects such as {"name": "id"')
    expect(await refused('{"where":{"id":"ge.5"}}', "where.id")).toBe(
      'has an unknown operator in "ge.5"; the operators of type bigint are eq, neq, gt, gte, lt, lte, in, isdistinct, is; ' +
        'to compare with that value itself, write "eq.ge.5"'
    )
    // Bun knows this zone, and PostgreSQL does not.
    if (path !== "/exports/estimate") return
    const answer = await send(service.url, { method: "POST", target: prefix + path, body: '{"timezone":"US/Pacific-New"}' })
    expect(expectProblem(answer, 400).detail).toContain('"US/Pacific-New"')
  })

  test("all mistakes of a request are reported at once", async () => {
    const query = "sort=1&total=0&delimiter=&bom=maybe&timezone=%ff&columns=id,no&id=ge.1&or=(id)&email=a&email=b"
    const { errors } = expectProblem(await send(service.url, { method: "POST", target: `${prefix}/exports/csv?${query}` }), 400)
    const fields = "bom columns delimiter email id or sort timezone total"
    expect(errors.map(({ field }) => field).toSorted()).toEqual(fields.split(" "))
    const long = "k".repeat(257)
    const stream = await send(service.url, { target: `${prefix}/exports/csv?sort=1&total=0&apiKey=${long}&errorRow=maybe` })
    const ofStream = expectProblem(stream, 400).errors
    expect(ofStream.map(({ field }) => field).toSorted()).toEqual("apiKey errorRow sort total".split(" "))
    expect(ofStream.find(({ field }) => field === "apiKey")?.detail).toBe("must have at most 256 characters")
    const header = await send(service.url, { target: `${prefix}/exports/csv?total=1`, headers: { "X-API-Key": long } })
    expect(expectProblem(header, 400).errors).toEqual([{ field: "X-API-Key", detail: "must have at most 256 characters" }])
    const body =
      '{"sort":1,"total":0,"delimiter":"","bom":2,"timezone":"\\u0000","columns":["id","no"],"where":{"id":"ge.1","or":[]}}'
    const inBody = expectProblem(await send(service.url, { method: "POST", target: `${prefix}/exports/csv`, body }), 400)
    const members = "bom columns delimiter sort timezone total where.id where.or"
    expect(inBody.errors.map(({ field }) => field).toSorted()).toEqual(members.split(" "))
  })

  test.each(["/datasets", "/datasets/users", "/datasets/none"])(
    "another method of %s is 405 and says what is allowed",
    async (path) => {
      for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        for (const query of ["", "?sort=1"]) {
          const answer = await send(service.url, { method, target: prefix + path + query })
          expectProblem(answer, 405)
          expect(answer.headers.get("Allow")?.split(", ").toSorted()).toEqual(["GET", "HEAD"])
        }
      }
    }
  )
})
