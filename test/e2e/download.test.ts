import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { gunzipSync } from "node:zlib"
import { copyCsv, createExport, reaches, type ExportDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"

setDefaultTimeout(60_000)
let service: Service
let id: string
let document: ExportDocument
let file: Buffer
let digest: string
beforeAll(async () => {
  service = await startService()
  id = await createExport(service)
  document = await reaches(service, id, "completed")
  file = await copyCsv(service, "select * from users")
  digest = new Bun.CryptoHasher("sha256").update(file).digest("base64")
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Sends a request for the download as written: nothing is added or decoded. */
const get = (headers: Record<string, string> = {}, method = "GET", of = id) =>
  fetch(`${service.url}/exports/${of}/download`, {
    method,
    headers: { "Accept-Encoding": "identity", ...headers },
    decompress: false
  })
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())
/** Returns all headers but those of the connection. */
const headersOf = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => !["date", "connection", "keep-alive"].includes(name)))
const expectWhole = async (response: Response) => {
  expect(response.status).toBe(200)
  expect(response.headers.get("Content-Range")).toBeNull()
  expect(response.headers.get("Content-Length")).toBe(String(file.length))
  expect((await bytesOf(response)).equals(file)).toBe(true)
}
const etagOf = async (headers: Record<string, string> = {}) => {
  const response = await get(headers, "HEAD")
  return response.headers.get("ETag") ?? ""
}

describe("the complete file", () => {
  test("has the headers of the contract", async () => {
    const response = await get()
    const day = document.completedAt!.slice(0, 10).replaceAll("-", "")
    expect(headersOf(response)).toMatchObject({
      "content-type": "text/csv; charset=utf-8; header=present",
      "content-disposition": `attachment; filename="users-${day}-${id.slice(0, 8)}.csv"`,
      "content-length": String(file.length),
      "accept-ranges": "bytes",
      etag: expect.stringMatching(/^"[\x21\x23-\x7e]+"$/),
      "last-modified": new Date(document.completedAt!).toUTCString(),
      vary: "Accept-Encoding",
      "cache-control": "private, no-transform"
    })
    await expectWhole(response)
  })
  test("is the same under the prefix /api/v1", async () => {
    const response = await fetch(`${service.url}/api/v1/exports/${id}/download`, { headers: { "Accept-Encoding": "identity" } })
    expect(headersOf(response)).toEqual(headersOf(await get()))
    await expectWhole(response)
  })
  test("is found by its id in upper and lower case", async () => {
    await expectWhole(await get({}, "GET", id.toUpperCase()))
  })
  test.each(["identity", "gzip", "zstd"])("HEAD in %s is GET without the body", async (coding) => {
    const [head, whole] = [await get({ "Accept-Encoding": coding }, "HEAD"), await get({ "Accept-Encoding": coding })]
    expect(head.status).toBe(200)
    expect(headersOf(head)).toEqual(headersOf(whole))
    expect(await bytesOf(head)).toHaveLength(0)
    await whole.body?.cancel()
  })
  test("HEAD ignores Range (RFC 9110 §14.2)", async () => {
    const head = await get({ Range: "bytes=0-9" }, "HEAD")
    expect(head.status).toBe(200)
    expect(head.headers.get("Content-Length")).toBe(String(file.length))
  })
})

describe("a range", () => {
  test("is a slice of the file, 300 times", async () => {
    const requests = 300
    let made = 0
    const client = async () => {
      while (made++ < requests) {
        // Ranges of each order of magnitude are as frequent; at the end of the file they are cut.
        const start = Math.floor(Math.random() * file.length)
        const length = Math.floor(2 ** (Math.random() * (made % 50 === 0 ? 22 : 13))) + 1
        const suffix = made % 10 === 0
        const response = await get({ Range: suffix ? `bytes=-${length}` : `bytes=${start}-${start + length - 1}` })
        const [from, to] = suffix
          ? [Math.max(0, file.length - length), file.length]
          : [start, Math.min(file.length, start + length)]
        const bytes = await bytesOf(response)
        if (response.status === 206 && bytes.equals(file.subarray(from, to))) continue
        throw new Error(`bytes ${from} to ${to} of ${file.length}: ${response.status} with ${bytes.length} bytes`)
      }
    }
    await Promise.all(Array.from({ length: 32 }, client))
  })
  test("says in Content-Range which bytes it has", async () => {
    const response = await get({ Range: "bytes=100-299" })
    const whole = headersOf(await get({}, "HEAD"))
    expect(response.status).toBe(206)
    expect(headersOf(response)).toEqual({
      ...whole,
      "content-length": "200",
      "content-range": `bytes 100-299/${file.length}`
    })
  })
  test.each([
    ["bytes=0-0", 0, 1],
    ["bytes=10-", 10, Infinity],
    ["bytes=-1", -1, Infinity],
    ["bytes=0-", 0, Infinity],
    ["bytes=5-999999999999", 5, Infinity],
    ["bytes=-999999999999", 0, Infinity],
    ["BYTES=7-9", 7, 10]
  ])("%s", async (range, from, to) => {
    const response = await get({ Range: range })
    expect(response.status).toBe(206)
    expect((await bytesOf(response)).equals(file.subarray(from, Math.min(to, file.length)))).toBe(true)
  })
  test.each(["bytes=0-1,5-6", "bytes=0-0, -1", "bytes=5-4", "bytes=a-b", "rows=0-5", "nonsense"])(
    "%s is ignored",
    async (range) => expectWhole(await get({ Range: range }))
  )
  test("outside the file is 416 with the length", async () => {
    for (const range of [`bytes=${file.length}-`, `bytes=${file.length}-${file.length + 5}`, "bytes=-0"]) {
      const response = await get({ Range: range })
      expect(response.status).toBe(416)
      expect(response.headers.get("Content-Range")).toBe(`bytes */${file.length}`)
      expect(response.headers.get("Content-Type")).toBe("application/problem+json")
    }
  })
  test("is sent under If-Range for the same file only", async () => {
    const [etag, modified] = [await etagOf(), new Date(document.completedAt!)]
    const statusFor = async (ifRange: string) => {
      const response = await get({ Range: "bytes=0-9", "If-Range": ifRange })
      if (response.status === 200) await expectWhole(response)
      else expect((await bytesOf(response)).equals(file.subarray(0, 10))).toBe(true)
      return response.status
    }
    expect(await statusFor(etag)).toBe(206)
    expect(await statusFor(modified.toUTCString())).toBe(206)
    expect(await statusFor(`W/${etag}`)).toBe(200)
    expect(await statusFor('"other"')).toBe(200)
    expect(await statusFor(new Date(+modified + 5_000).toUTCString())).toBe(200)
    // A range that no longer holds cannot be outside the file either.
    await expectWhole(await get({ Range: `bytes=${file.length}-`, "If-Range": '"other"' }))
  })
})

describe("preconditions", () => {
  test("for a copy that is still valid give 304 without a body, with the headers of the file", async () => {
    const [etag, whole] = [await etagOf(), headersOf(await get({}, "HEAD"))]
    const modified = document.completedAt!
    for (const headers of [
      { "If-None-Match": etag },
      { "If-None-Match": `W/${etag}, "x"` },
      { "If-None-Match": "*" },
      { "If-Modified-Since": new Date(modified).toUTCString() },
      // Preconditions come before ranges (RFC 9110 §13.2.2).
      { "If-None-Match": etag, Range: "bytes=0-9" }
    ]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await get(headers, method)
        expect(response.status).toBe(304)
        expect(await bytesOf(response)).toHaveLength(0)
        for (const name of ["etag", "vary", "cache-control"]) expect(response.headers.get(name)).toBe(whole[name]!)
        expect(response.headers.get("Content-Type")).toBeNull()
      }
    }
    await expectWhole(await get({ "If-None-Match": '"other"' }))
    await expectWhole(await get({ "If-Modified-Since": new Date(0).toUTCString() }))
  })
  test("for another file give 412", async () => {
    const etag = await etagOf()
    const epoch = new Date(0).toUTCString()
    for (const headers of [{ "If-Match": '"other"' }, { "If-Match": `W/${etag}` }, { "If-Unmodified-Since": epoch }]) {
      const response = await get(headers)
      expect(response.status).toBe(412)
      expect(response.headers.get("Content-Type")).toBe("application/problem+json")
    }
    await expectWhole(await get({ "If-Match": `"x", ${etag}` }))
    await expectWhole(await get({ "If-Match": "*" }))
  })
})

describe.each([
  ["gzip", gunzipSync],
  ["zstd", Bun.zstdDecompressSync]
] as const)("the file in %s", (coding, decode) => {
  test("is smaller, the same after decoding, and has an ETag of its own", async () => {
    const response = await get({ "Accept-Encoding": `${coding}, br` })
    const whole = headersOf(await get({}, "HEAD"))
    const { etag, "content-length": _, ...same } = whole
    expect(response.status).toBe(200)
    expect(headersOf(response)).toMatchObject({ ...same, "content-encoding": coding })
    expect(response.headers.get("Content-Length")).toBeNull()
    expect(response.headers.get("ETag")).toMatch(/^"[^"]+"$/)
    expect(response.headers.get("ETag")).not.toBe(etag!)
    const body = await bytesOf(response)
    expect(body.length).toBeLessThan(file.length / 2)
    expect(Buffer.from(decode(body)).equals(file)).toBe(true)
  })
  test("is validated by its own ETag, which does not validate the uncompressed file", async () => {
    const etag = await etagOf({ "Accept-Encoding": coding })
    expect((await get({ "Accept-Encoding": coding, "If-None-Match": etag })).status).toBe(304)
    await expectWhole(await get({ "If-None-Match": etag }))
    await expectWhole(await get({ Range: "bytes=0-9", "If-Range": etag }))
  })
  test("has no ranges: they are of the uncompressed file", async () => {
    const response = await get({ "Accept-Encoding": coding, Range: "bytes=0-9" })
    expect(response.status).toBe(206)
    expect(response.headers.get("Content-Encoding")).toBeNull()
    expect(response.headers.get("ETag")).toBe(await etagOf())
    expect((await bytesOf(response)).equals(file.subarray(0, 10))).toBe(true)
  })
})

describe("Want-Repr-Digest (RFC 9530)", () => {
  test("gives the SHA-256 of the complete file, also for a range and for HEAD, and stores it", async () => {
    const expected = `sha-256=:${digest}:`
    const want = { "Want-Repr-Digest": "sha-256=5, sha-512=3" }
    const sql = await connect(service.database, 1)
    for (let time = 0; time < 2; time++) {
      const response = await get(want)
      expect(response.headers.get("Repr-Digest")).toBe(expected)
      await expectWhole(response)
      const [kept] = await sql<Array<{ sha256: string }>>`select sha256 from sluice.exports where id = ${id}`
      expect(kept?.sha256).toBe(digest)
    }
    expect((await get(want, "HEAD")).headers.get("Repr-Digest")).toBe(expected)
    expect((await get({ ...want, Range: "bytes=0-9" })).headers.get("Repr-Digest")).toBe(expected)
  })
  test.each([[""], ["sha-512=10"], ["sha-256=0"], ["sha-256=0, sha-512=1"], ["not-sha-256=1"]])("%p gives none", async (want) => {
    expect((await get(want === "" ? {} : { "Want-Repr-Digest": want })).headers.get("Repr-Digest")).toBeNull()
  })
})
