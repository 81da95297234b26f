import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { copyCsv, createExport, download, jsonPost, reaches, type ExportDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { USERS } from "../support/shared-service.ts"

setDefaultTimeout(90_000)

let service: Service
beforeAll(async () => {
  service = await startService()
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

test("an export of the whole table is what COPY writes, byte for byte", async () => {
  const id = await createExport(service)
  const { progress, bytes, crc32 } = await reaches(service, id, "completed")
  const file = await download(service, id)
  expect(file.equals(await copyCsv(service, "select * from users"))).toBe(true)
  expect(progress).toEqual({ totalRows: USERS, totalRowsExact: true, processedRows: USERS, percentage: 100 })
  expect(bytes).toBe(file.length)
  expect(crc32).toBe(Bun.hash.crc32(file).toString(16).padStart(8, "0"))
})

describe("as a job, from a JSON body, and as a stream, an export is what COPY writes", () => {
  const cases: ReadonlyArray<readonly [Record<string, string>, string, string?]> = [
    [{ country_code: "US" }, "select * from users where country_code = 'US'"],
    [{ country_code: "XX" }, "select * from users where country_code = 'XX'"],
    [
      { subscription_tier: "premium", min_ltv: "5000.10" },
      "select * from users where subscription_tier = 'premium' and lifetime_value >= 5000.10"
    ],
    [{ columns: "email,id,signup_date" }, "select email, id, signup_date from users"],
    [{ columns: "name", delimiter: " ", quoteChar: "'" }, "select name from users", ", delimiter ' ', quote '''', escape ''''"],
    [{ delimiter: "\t", total: "12345" }, "select * from users limit 12345", ", delimiter E'\\t'"],
    [{ delimiter: "-", quoteChar: ":", min_ltv: "-0.5" }, "select * from users", ", delimiter '-', quote ':', escape ':'"]
  ]
  test.each(cases)("%o", async (parameters, query, options = "") => {
    const expected = await copyCsv(service, query, options)
    const search = `?${new URLSearchParams(parameters).toString()}`
    const asked = await fetch(`${service.url}/api/v1/exports/csv`, jsonPost(parameters))
    const { exportId } = (await asked.json()) as { exportId: string }
    for (const id of [await createExport(service, search), exportId]) {
      const { progress } = await reaches(service, id, "completed")
      const file = await download(service, id)
      expect(file.equals(expected)).toBe(true)
      expect(progress.totalRows).toBe(file.toString("latin1").split("\n").length - 2)
    }
    const streamed = await fetch(`${service.url}/api/v1/exports/csv${search}`)
    expect(Buffer.from(await streamed.arrayBuffer()).equals(expected)).toBe(true)
  })
})

test("the list has each export once, newest first, page by page", async () => {
  const created: Array<string> = []
  for (let i = 0; i < 5; i++) created.push(await createExport(service, "?total=1"))
  const seen: Array<string> = []
  for (let next: string | undefined = "/exports?limit=2"; next !== undefined && seen.length < 5;) {
    const page = (await (await fetch(service.url + next)).json()) as {
      exports: Array<ExportDocument>
      nextCursor: string | null
      links?: { next: string }
    }
    expect(page.exports.length).toBe(2)
    seen.push(...page.exports.map(({ exportId }) => exportId))
    next = page.links?.next
  }
  expect(seen.slice(0, 5)).toEqual(created.toReversed())
})
