import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { copyCsv, createExport, download, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { USERS } from "../support/shared.ts"

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
