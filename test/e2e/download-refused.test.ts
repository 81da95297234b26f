import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { createExport, reaches, statusOf } from "../support/client.ts"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"

setDefaultTimeout(60_000)
let service: Service
beforeAll(async () => {
  // Exports run one at a time, so that a second one waits as pending.
  service = await startService({ MAX_CONCURRENT_EXPORTS: "1" })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const remove = async (id: string) => (await send(service.url, { method: "DELETE", target: `/exports/${id}` })).status
/** Expects this status for GET and HEAD, also with conditions and ranges, and returns what the document and its headers say. */
const expectRefusal = async (id: string, status: number) => {
  const target = `/exports/${id}/download`
  for (const headers of [{ Range: "bytes=0-9" }, { "If-None-Match": "*" }, { "If-Match": '"x"' }] as const) {
    expectProblem(await send(service.url, { target, headers }), status)
  }
  expect((await send(service.url, { method: "HEAD", target })).status).toBe(status)
  const answer = await send(service.url, { target })
  return { retryAfter: answer.headers.get("Retry-After"), ...expectProblem(answer, status) }
}

test("a download is 425 with Retry-After before the export is finished, and 410 after it is cancelled", async () => {
  const holder = await (await connect(service.database, 1)).reserve()
  await holder.unsafe("begin; lock table users in access exclusive mode")
  try {
    const processing = await createExport(service)
    await reaches(service, processing, "processing")
    const pending = await createExport(service)
    expect((await statusOf(service, pending)).status).toBe("pending")
    for (const unfinished of [processing, pending]) {
      expect((await expectRefusal(unfinished, 425)).retryAfter).toMatch(/^[1-9]\d*$/)
    }
    for (const unfinished of [pending, processing]) {
      expect(await remove(unfinished)).toBe(204)
      expect((await statusOf(service, unfinished)).status).toBe("cancelled")
      await expectRefusal(unfinished, 410)
      expect(await remove(unfinished)).toBe(204)
      expect((await statusOf(service, unfinished)).status).toBe("cancelled")
    }
  } finally {
    await holder.unsafe("rollback")
    holder.release()
  }
})
test("a download of a failed export is 409 with the error of the job", async () => {
  const sql = await connect(service.database, 1)
  await sql`alter table users rename to people`
  const failed = await createExport(service)
  const { error } = await reaches(service, failed, "failed")
  await sql`alter table people rename to users`
  expect((await expectRefusal(failed, 409)).detail).toContain(error!)
  expect(await remove(failed)).toBe(204)
})
test("a download of a removed file is 410, and another DELETE is 204", async () => {
  const removed = await createExport(service, "?total=10")
  await reaches(service, removed, "completed")
  for (let time = 0; time < 2; time++) {
    expect(await remove(removed)).toBe(204)
    expect((await statusOf(service, removed)).status).toBe("expired")
    await expectRefusal(removed, 410)
  }
})
test.each([crypto.randomUUID(), "1", "csv", "00000000-0000-0000-0000-00000000000g", "%2e%2e", "x".repeat(300)])(
  "a download of %s, which is no id of an export, is 404",
  async (of) => {
    await expectRefusal(of, 404)
    expect(await remove(of)).toBe(of === "csv" ? 405 : 404)
  }
)
