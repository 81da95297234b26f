/** An export that `maxRows` of its dataset has cut says so: in its status, on its download and on its stream. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { createExport, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, USERS } from "../support/shared-service.ts"
import { fileOf } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const HEADER = "Sluice-Truncated"

/** Ten rows, of which five have an even `id`. */
const setup = `
  create schema cut;
  create table cut.numbers as
    select n as id, case n % 2 when 0 then 'even' else 'odd' end as kind from generate_series(1, 10) n;
  create table cut.filtered as table cut.numbers;
  create table cut.unlimited as table cut.numbers`

const definitions = {
  "cut.numbers": { maxRows: 5 },
  "cut.filtered": { maxRows: 5, where: { kind: "eq.even" } },
  "public.users": { maxRows: USERS - 1 }
}

const truncated: ReadonlyArray<readonly [what: string, query: string, ids: ReadonlyArray<number>]> = [
  ["a dataset with more rows", "", [1, 2, 3, 4, 5]],
  ["a filter that more rows match", "id=gt.2", [3, 4, 5, 6, 7]],
  ["an order", "order_by=-id", [10, 9, 8, 7, 6]],
  ["an order and a filter that one row more matches", "order_by=-id&id=gte.5", [10, 9, 8, 7, 6]],
  ["a file in UTF-16", "profile=excel-utf16", [1, 2, 3, 4, 5]]
]
/** Only COPY gives the bytes of the database. */
const truncatedCopy: typeof truncated = [...truncated, ["a file of raw bytes", "profile=postgres&encoding=raw", [1, 2, 3, 4, 5]]]
const complete: typeof truncated = [
  ["a filter that exactly `maxRows` rows match", "kind=even", [2, 4, 6, 8, 10]],
  ["an order and a filter that exactly `maxRows` rows match", "kind=even&order_by=-id", [10, 8, 6, 4, 2]],
  ["a filter that fewer rows match", "id=gt.7", [8, 9, 10]],
  ["a filter that no row matches", "id=gt.10", []],
  ["a total of `maxRows`", "total=5", [1, 2, 3, 4, 5]],
  ["a total of `maxRows` under its other name", "limit=5", [1, 2, 3, 4, 5]],
  ["a total of fewer rows", "total=3&order_by=-id", [10, 9, 8]],
  ["a total with a filter that more rows match", "total=5&id=gt.2", [3, 4, 5, 6, 7]],
  ["a dataset whose own condition leaves exactly `maxRows` rows", "dataset=cut.filtered", [2, 4, 6, 8, 10]],
  ["a dataset without `maxRows`", "dataset=cut.unlimited", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
]
const requestOf = (query: string) => {
  const dataset = query.includes("dataset=") ? [] : ["dataset=cut.numbers"]
  return `?${["columns=id&header=none", ...dataset, ...(query === "" ? [] : [query])].join("&")}`
}

const idsOf = async (response: Response): Promise<ReadonlyArray<number>> => {
  const isUtf16 = response.headers.get("Content-Type")?.includes("utf-16") === true
  // The decoder leaves out a byte order mark.
  const text = new TextDecoder(isUtf16 ? "utf-16le" : "utf-8").decode(await response.arrayBuffer())
  return text.split(/\r?\n/).slice(0, -1).map(Number)
}

describe.each([
  ["copy", truncatedCopy],
  ["cursor", truncated]
])("an export with EXPORT_SOURCE=%s", (method, ofMethod) => {
  let service: Service
  let database: string
  beforeAll(async () => {
    database = await freshDatabase()
    await (await connect(database, 1)).unsafe(setup)
    service = await startService({
      DATABASE_URL: database,
      EXPORT_DATASETS: "cut.*,public.users",
      DATASETS_FILE: await fileOf(definitions),
      EXPORT_SOURCE: method,
      RATE_LIMIT_MAX: "10000"
    })
  })
  afterAll(async () => {
    expect(await service.stop()).toBe(0)
  })

  const stream = (query: string, init?: RequestInit) => fetch(`${service.url}/exports/csv${requestOf(query)}`, init)
  const completed = async (query: string) => {
    const id = await createExport(service, requestOf(query))
    const document = await reaches(service, id, "completed")
    return { document, download: (init?: RequestInit) => fetch(`${service.url}/exports/${id}/download`, init) }
  }

  describe("is truncated by `maxRows`", () => {
    test.each([...ofMethod])("as a stream: %s", async (_, query, ids) => {
      const response = await stream(query)
      expect([response.status, response.headers.get(HEADER)]).toEqual([200, "maxRows"])
      expect(await idsOf(response)).toEqual(ids)
    })

    test.each([...ofMethod])("as a job: %s", async (_, query, ids) => {
      const { document, download } = await completed(query)
      expect(document).toMatchObject({
        truncated: true,
        truncatedBy: "maxRows",
        progress: { totalRows: 5, totalRowsExact: true }
      })
      const response = await download()
      expect([response.status, response.headers.get(HEADER)]).toEqual([200, "maxRows"])
      expect(await idsOf(response)).toEqual(ids)
    })

    test("on each answer with bytes of the file: compressed, a range of it, and to HEAD", async () => {
      const { download } = await completed("")
      for (const [status, init] of [
        [200, { headers: { "Accept-Encoding": "gzip" } }],
        [206, { headers: { Range: "bytes=0-1" } }],
        [200, { method: "HEAD" }]
      ] as const) {
        const response = await download(init)
        await response.arrayBuffer()
        expect([response.status, response.headers.get(HEADER)]).toEqual([status, "maxRows"])
      }
    })
  })

  describe("is not truncated", () => {
    test.each([...complete])("as a stream: %s", async (_, query, ids) => {
      const response = await stream(query)
      expect([response.status, response.headers.get(HEADER)]).toEqual([200, null])
      expect(await idsOf(response)).toEqual(ids)
    })

    test.each([...complete])("as a job: %s", async (_, query, ids) => {
      const { document, download } = await completed(query)
      expect(document).toMatchObject({ truncated: false, truncatedBy: null, progress: { totalRows: ids.length } })
      const response = await download()
      expect([response.status, response.headers.get(HEADER)]).toEqual([200, null])
      expect(await idsOf(response)).toEqual(ids)
    })
  })

  test("has exactly `maxRows` rows of a table that is large enough for several parts", async () => {
    for (const [query, header] of [
      ["dataset=users", "maxRows"],
      ["dataset=users&id=neq.1", null]
    ] as const) {
      const response = await stream(query)
      expect([query, response.headers.get(HEADER)]).toEqual([query, header])
      expect(await idsOf(response)).toHaveLength(USERS - 1)
    }
  })

  test("is not read for HEAD of its stream, which therefore does not say whether it would be truncated", async () => {
    const sql = await connect(database, 1)
    await sql.begin(async (holder) => {
      await holder`lock table cut.numbers in access exclusive mode`
      const response = await stream("", { method: "HEAD" })
      expect([response.status, response.headers.get(HEADER)]).toEqual([200, null])
    })
  })
})
