/** Files that somebody has removed from the storage or changed there. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { readdir, readFile, rename, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { createExport, download, reaches, statusOf, type ExportDocument } from "../support/client.ts"
import { expectProblem, send, exchange } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)
let service: Service
beforeAll(async () => {
  service = await startService()
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Creates an export, waits until it is completed, and returns it with the path of its file. */
const stored = async (query = "?total=1000") => {
  const id = await createExport(service, query)
  await reaches(service, id, "completed")
  const found = (await readdir(service.storage, { recursive: true })).find((name) => name.includes(id))
  return { id, target: `/exports/${id}/download`, path: join(service.storage, found!) }
}
/** Changes a byte in the middle of a file. */
const flip = async (path: string) => {
  const bytes = await readFile(path)
  bytes[bytes.length >> 1]! ^= 1
  await writeFile(path, bytes)
}
const hasLink = (document: ExportDocument) => "download" in document.links
const WANT = { "Want-Repr-Digest": "sha-256=1" }

test("a missing file is 410, and neither the status, the list nor the events link to it", async () => {
  const { id, target, path } = await stored()
  expect(hasLink(await statusOf(service, id))).toBe(true)
  await rename(path, `${path}.aside`)
  for (const headers of [{}, { Range: "bytes=0-9" }, { "If-None-Match": "*" }, { "Accept-Encoding": "gzip" }, WANT])
    expect(expectProblem(await send(service.url, { target, headers }), 410).detail).toContain("removed from the storage")
  expect((await send(service.url, { method: "HEAD", target })).status).toBe(410)
  const status = await statusOf(service, id)
  expect([status.status, hasLink(status)]).toEqual(["completed", false])
  const { exports } = (await (await fetch(`${service.url}/exports`)).json()) as { exports: ReadonlyArray<ExportDocument> }
  expect(exports.filter(({ exportId }) => exportId === id).map(hasLink)).toEqual([false])
  expect(await (await fetch(`${service.url}/exports/${id}/events`)).text()).not.toContain("/download")
  // The file comes back with its disk.
  await rename(`${path}.aside`, path)
  expect(hasLink(await statusOf(service, id))).toBe(true)
  expect((await download(service, id)).length).toBe(status.bytes!)
})

test("no file is reported as lost while the whole storage is missing", async () => {
  const { id, target } = await stored()
  await rename(service.storage, `${service.storage}-aside`)
  try {
    expectProblem(await send(service.url, { target }), 500)
    expect(hasLink(await statusOf(service, id))).toBe(true)
  } finally {
    await rename(`${service.storage}-aside`, service.storage)
  }
})

/** Expects that the export is failed, and that the log has one line about it. */
const expectMarked = async (id: string, target: string, damage: string) => {
  const status = await until("the export to be marked", async () => {
    const document = await statusOf(service, id)
    return document.status === "failed" && document
  })
  expect(status.error).toBe("The file was damaged in the storage. Create the export again.")
  expect(hasLink(status)).toBe(false)
  expect(expectProblem(await send(service.url, { target, headers: WANT }), 409).detail).toContain(status.error!)
  const lines = service.log().filter(({ annotations, logLevel }) => annotations["exportId"] === id && logLevel === "ERROR")
  expect(lines.map(({ message }) => String(message))).toEqual([expect.stringContaining(damage)])
}

test("a file with a different CRC-32 gets no digest: 500, and the export is marked", async () => {
  const { id, target, path } = await stored()
  await flip(path)
  const { detail } = expectProblem(await send(service.url, { target, headers: WANT }), 500)
  expect(detail).toContain("damaged")
  await expectMarked(id, target, `instead of ${(await statusOf(service, id)).crc32}`)
})

test("a file that was cut short is 500, and the export is marked", async () => {
  const { id, target, path } = await stored()
  const { bytes } = await statusOf(service, id)
  await truncate(path, 100)
  expect(hasLink(await statusOf(service, id))).toBe(false)
  expectProblem(await send(service.url, { target }), 500)
  await expectMarked(id, target, `100 bytes instead of ${bytes}`)
})

test.each(["gzip", "zstd"])(
  "a file with a different CRC-32 is an incomplete body in %s, and the export is marked",
  async (coding) => {
    const { id, target, path } = await stored()
    await flip(path)
    const head = `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept-Encoding: ${coding}\r\n\r\n`
    const wire = (await exchange(service.url, head)).toString("latin1")
    expect(wire).toStartWith("HTTP/1.1 200")
    expect(wire).not.toEndWith("\r\n0\r\n\r\n")
    await expectMarked(id, target, "CRC-32")
  }
)

test("an undamaged file is served with its digest, compressed and uncompressed", async () => {
  const { id, target } = await stored("?total=20000")
  const plain = await download(service, id)
  const digest = `sha-256=:${new Bun.CryptoHasher("sha256").update(plain).digest("base64")}:`
  expect((await send(service.url, { target, headers: WANT, method: "HEAD" })).headers.get("Repr-Digest")).toBe(digest)
  const compressed = await fetch(service.url + target, { headers: { "Accept-Encoding": "zstd" } })
  expect(plain.equals(Buffer.from(await compressed.arrayBuffer()))).toBe(true)
  expect((await statusOf(service, id)).status).toBe("completed")
})
