/** What a client relies on before it has a byte of CSV: the answers about an export, and the headers of a stream. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { createExport, download, reaches, statusOf, type ExportDocument } from "../support/client.ts"
import { startService, storedFiles, type Service } from "../support/service.ts"
import { connect, USERS } from "../support/shared-service.ts"
import { sourceBackends, sourceIsBusy, sourceIsLeft } from "../support/source.ts"

setDefaultTimeout(60_000)

const TTL_MS = 90 * 60_000
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const prefixes = ["", "/api/v1"]

let service: Service
let locks: postgres.Sql
beforeAll(async () => {
  // Exports run one at a time, so that a second one waits as pending.
  service = await startService({ MAX_CONCURRENT_EXPORTS: "1", EXPORT_TTL: "90 minutes" })
  locks = await connect(service.database, 1)
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Runs `work` while no row of the demo table can be read. */
const whileLocked = async (work: () => Promise<void>) => {
  const holder = await locks.reserve()
  await holder.unsafe("begin; lock table users in access exclusive mode")
  try {
    await work()
  } finally {
    await holder.unsafe("rollback")
    holder.release()
  }
}
const remove = async (id: string) => (await fetch(`${service.url}/exports/${id}`, { method: "DELETE" })).status
const documentAt = async (path: string) => {
  const response = await fetch(service.url + path)
  const { headers } = response
  return { status: response.status, headers, document: (await response.json()) as ExportDocument }
}
/** They differ between any two requests, or are the connection's. */
const passing = new Set(["date", "ratelimit", "connection", "keep-alive"])
const headersOf = ({ headers }: Response) => Object.fromEntries([...headers].filter(([name]) => !passing.has(name)))
/** The links of an export that has a file, or of one that has none. */
const linksOf = (prefix: string, id: string, hasFile: boolean): ExportDocument["links"] => {
  const base = `${prefix}/exports/${id}`
  return { self: `${base}/status`, events: `${base}/events`, ...(hasFile && { download: `${base}/download` }) }
}

test.each(["/health", "/exports", "/datasets/users", "/exports/none", "/exports/csv?total=0", "/nothing"])(
  "HEAD of a JSON document has the Content-Length of GET: %s",
  async (path) => {
    const answers = await Promise.all(
      ["GET", "HEAD"].map((method) => fetch(service.url + path, { method, headers: { Connection: "close" } }))
    )
    const [length, ofHead] = answers.map(({ headers }) => headers.get("Content-Length"))
    expect(Number(length)).toBeGreaterThan(0)
    expect(ofHead).toBe(length)
  }
)

describe.each(prefixes)("an export that is asked for under %p", (prefix) => {
  test.each(["/exports/csv", "/exports"])("by POST %s is accepted, and its status is where Location says", async (path) => {
    const response = await fetch(`${service.url}${prefix}${path}?total=1`, { method: "POST" })
    expect(response.status).toBe(202)
    expect(response.headers.get("Content-Type")).toStartWith("application/json")
    const answer = (await response.json()) as { exportId: string; status: string }
    expect(answer).toEqual({ exportId: expect.stringMatching(UUID), status: "pending" })
    expect(response.headers.get("Location")).toBe(`${prefix}/exports/${answer.exportId}/status`)
    expect(response.headers.get("Retry-After")).toBe("1")
    const { status, document } = await documentAt(response.headers.get("Location")!)
    expect([status, document.exportId]).toEqual([200, answer.exportId])
    await reaches(service, answer.exportId, "completed")
  })

  test("while it is unfinished, says when to ask again, and has no file", async () => {
    await whileLocked(async () => {
      const processing = await createExport(service)
      await reaches(service, processing, "processing")
      const pending = await createExport(service)
      for (const [id, status] of [
        [processing, "processing"],
        [pending, "pending"]
      ] as const) {
        const { headers, document } = await documentAt(`${prefix}/exports/${id}/status`)
        expect(headers.get("Retry-After")).toMatch(/^[1-9]\d*$/)
        expect(headers.get("Cache-Control")).toBe("no-store")
        expect(document).toEqual({
          exportId: id,
          dataset: "users",
          status,
          progress: { totalRows: document.progress.totalRows, totalRowsExact: false, processedRows: 0, percentage: 0 },
          error: null,
          waiting: null,
          createdAt: expect.stringMatching(UTC),
          startedAt: status === "pending" ? null : expect.stringMatching(UTC),
          completedAt: null,
          expiresAt: null,
          bytes: null,
          crc32: null,
          truncated: false,
          truncatedBy: null,
          links: linksOf(prefix, id, false)
        })
      }
      for (const id of [pending, processing]) expect(await remove(id)).toBe(204)
    })
  })

  test("once it is completed, has the times of its progress, and the expiry, the length and the CRC-32 of its file", async () => {
    const id = await createExport(service, "?columns=id,name")
    await reaches(service, id, "completed")
    const { headers, document } = await documentAt(`${prefix}/exports/${id}/status`)
    expect(headers.get("Content-Type")).toStartWith("application/json")
    expect(headers.get("Retry-After")).toBeNull()
    expect(headers.get("Cache-Control")).toBe("no-store")
    const file = await download(service, id)
    expect(document).toEqual({
      exportId: id,
      dataset: "users",
      status: "completed",
      progress: { totalRows: USERS, totalRowsExact: true, processedRows: USERS, percentage: 100 },
      error: null,
      waiting: null,
      createdAt: expect.stringMatching(UTC),
      startedAt: expect.stringMatching(UTC),
      completedAt: expect.stringMatching(UTC),
      expiresAt: expect.stringMatching(UTC),
      bytes: file.length,
      crc32: Bun.hash.crc32(file).toString(16).padStart(8, "0"),
      truncated: false,
      truncatedBy: null,
      links: linksOf(prefix, id, true)
    })
    const { createdAt, startedAt, completedAt, expiresAt } = document
    expect(createdAt <= startedAt! && startedAt! <= completedAt!).toBe(true)
    expect(Date.parse(expiresAt!) - Date.parse(completedAt!)).toBe(TTL_MS)
    expect((await fetch(service.url + document.links.download!)).status).toBe(200)

    const short = await documentAt(`${prefix}/exports/${id}`)
    expect([short.status, short.document]).toEqual([200, document])
    for (const name of ["Retry-After", "Cache-Control", "Content-Type"]) {
      expect(short.headers.get(name)).toBe(headers.get(name))
    }
  })

  test("has no link to a file and no Retry-After when it has failed, was cancelled or has expired", async () => {
    await locks`alter table users rename to people`
    const failed = await createExport(service)
    await reaches(service, failed, "failed")
    await locks`alter table people rename to users`
    const expired = await createExport(service, "?total=1")
    await reaches(service, expired, "completed")
    let cancelled = ""
    await whileLocked(async () => {
      cancelled = await createExport(service)
      for (const id of [cancelled, expired]) expect(await remove(id)).toBe(204)
    })
    for (const [id, status] of Object.entries({ [failed]: "failed", [expired]: "expired", [cancelled]: "cancelled" })) {
      const { headers, document } = await documentAt(`${prefix}/exports/${id}/status`)
      expect(document).toMatchObject({ status, completedAt: expect.stringMatching(UTC) })
      expect(document.links).toEqual(linksOf(prefix, id, false))
      expect(headers.get("Retry-After")).toBeNull()
      expect(document.error === null).toBe(status !== "failed")
    }
  })
})

test("DELETE of a finished export removes its file from the storage, and no other file", async () => {
  const [id, other] = [await createExport(service, "?total=10"), await createExport(service, "?total=20")]
  for (const one of [id, other]) await reaches(service, one, "completed")
  const filesOf = async (one: string) => (await storedFiles(service.storage)).filter((name) => name.startsWith(one))
  expect(await filesOf(id)).toHaveLength(1)
  for (let time = 0; time < 2; time++) {
    expect(await remove(id)).toBe(204)
    expect(await filesOf(id)).toEqual([])
    expect((await statusOf(service, id)).status).toBe("expired")
    expect((await fetch(`${service.url}/exports/${id}/download`)).status).toBe(410)
  }
  expect(await filesOf(other)).toHaveLength(1)
  expect((await download(service, other)).toString().split("\n")).toHaveLength(22)
})

describe.each(prefixes)("the stream under %p", (prefix) => {
  const stream = (method: string, coding: string, signal: AbortSignal | null = null) =>
    fetch(`${service.url}${prefix}/exports/csv?columns=id`, {
      method,
      headers: { "Accept-Encoding": coding },
      decompress: false,
      signal
    })

  test.each(["identity", "gzip", "zstd"])("has the headers of the contract in %s, and HEAD has the same", async (coding) => {
    const response = await stream("GET", coding)
    expect(response.status).toBe(200)
    expect(headersOf(response)).toMatchObject({
      "content-type": "text/csv; charset=utf-8; header=present",
      "content-disposition": 'attachment; filename="export.csv"',
      "cache-control": "no-store",
      vary: "Accept-Encoding",
      "x-accel-buffering": "no"
    })
    expect(response.headers.get("Content-Encoding")).toBe(coding === "identity" ? null : coding)
    expect(response.headers.get("Content-Length")).toBeNull()
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(0)

    const head = await stream("HEAD", coding)
    expect(head.status).toBe(200)
    expect(headersOf(head)).toEqual(headersOf(response))
    expect((await head.arrayBuffer()).byteLength).toBe(0)
  })

  test("answers HEAD while nobody can read a row, and GET waits", async () => {
    await sourceIsLeft(service.database)
    await whileLocked(async () => {
      const head = await stream("HEAD", "identity")
      expect(head.status).toBe(200)
      expect(await sourceBackends(service.database)).toEqual([])
      const left = new AbortController()
      const waiting = stream("GET", "identity", left.signal).then(
        () => "answered",
        () => "left"
      )
      await sourceIsBusy(service.database)
      left.abort()
      expect(await waiting).toBe("left")
      await sourceIsLeft(service.database)
    })
  })
})
