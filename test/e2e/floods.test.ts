/**
 * What a client can make the service keep: connections, heads and bodies that do not end, compressed bodies that nobody
 * takes, event streams, keys. In each flood the service stays below its 150 MB, and /health answers. FLOODS=full takes the
 * numbers that once killed the service.
 */
import { afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { connect as connectTo, type Socket } from "node:net"
import { createExport, reaches } from "../support/client.ts"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"
import { makeUsersLarge } from "../support/source.ts"
import { until } from "../support/until.ts"
import { limits } from "../../src/limits.ts"

setDefaultTimeout(300_000)

const isFull = process.env["FLOODS"] === "full"
const MEMORY_MB = 150
/** This is long, since other tests run beside these floods on the same cores. */
const HEALTH_MS = 3_000

let service: Service
let finished: string
let env: Record<string, string>
beforeAll(async () => {
  service = await startService()
  await makeUsersLarge(service.database, 1_500_000)
  finished = await createExport(service)
  await reaches(service, finished, "completed")
  env = { DATABASE_URL: service.database, EXPORT_STORAGE_PATH: service.storage, RATE_LIMIT_MAX: "10000" }
  await service.stop()
})
beforeEach(async () => {
  service = await startService(env)
})

interface Flooder {
  readonly socket: Socket
  readonly head: () => string
  readonly isOpen: () => boolean
}
let flooders: Array<Flooder> = []
afterEach(async () => {
  for (const { socket } of flooders) socket.destroy()
  flooders = []
  expect(await service.stop()).toBe(0)
})

/** Opens connections that send `text` and take one piece of the answer. */
const flood = async (count: number, text: string) => {
  const { hostname, port } = new URL(service.url)
  const bytes = Buffer.from(text)
  for (let made = 0; made < count; made++) {
    const socket = connectTo(Number(port), hostname)
    let head = ""
    let isOpen = true
    socket.on("error", () => {})
    socket.on("close", () => (isOpen = false))
    socket.on("data", (data: Buffer) => {
      head += data.toString("latin1")
      const end = head.indexOf("\r\n\r\n")
      if (end === -1) return
      socket.pause()
      head = head.slice(0, end + 4)
    })
    socket.write(bytes)
    flooders.push({ socket, head: () => head, isOpen: () => isOpen })
    // Connections are opened some at a time, since the kernel refuses too many at once.
    if (made % 100 === 99) await until("the connection", () => !socket.connecting)
  }
}
const stillOpen = () => flooders.filter(({ isOpen }) => isOpen()).length

const memoryMb = (field: "VmHWM" | "VmRSS") =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${service.pid}/status`, "utf8"))?.[1]) / 1024

/** Expects that the service answers, and has never taken more memory than it may. */
const expectAlive = async (flooded: string) => {
  const begun = performance.now()
  const { status } = await send(service.url, { target: "/health" })
  const ms = performance.now() - begun
  const peak = memoryMb("VmHWM")
  if (isFull) console.log(`${flooded}: /health ${ms.toFixed(0)} ms, peak ${peak.toFixed(0)} MB, ${stillOpen()} connections`)
  expect(status).toBe(200)
  expect(ms).toBeLessThan(HEALTH_MS)
  expect(peak).toBeLessThan(MEMORY_MB)
}
const REQUEST_END = "Host: localhost\r\n\r\n"
const get = (target: string, coding = "identity") => `GET ${target} HTTP/1.1\r\nAccept-Encoding: ${coding}\r\n${REQUEST_END}`
const post = (framing: string, body: string) =>
  `POST /exports/csv HTTP/1.1\r\nContent-Type: application/json\r\n${framing}\r\n${REQUEST_END}${body}`

test("requests whose heads do not end", async () => {
  await flood(200, `GET /health HTTP/1.1\r\nX-Junk: ${"a".repeat(2_000_000)}`)
  await until("the requests to be refused", () => stillOpen() === 0)
  await flood(isFull ? 1_000 : 300, `GET /health HTTP/1.1\r\nX-Junk: ${"a".repeat(32_000)}`)
  await expectAlive("heads")
})

test("of many large requests at once some are worked on, some wait, and the rest are refused with 503", async () => {
  const values = Array.from({ length: 990 }, (_, n) => String(n).padStart(60, "0"))
  const body = JSON.stringify({ where: { email: `in.(${values.join(",")})` } })
  await flood(isFull ? 450 : 200, post(`Content-Length: ${body.length}`, body))
  await until("all to be answered", () => flooders.every(({ head }) => head().includes("\r\n\r\n")))
  const answers = flooders.map(({ head }) => head().slice(9, 12))
  expect(answers.filter((status) => status !== "503").every((status) => status === "202")).toBe(true)
  expect(answers.filter((status) => status === "202").length).toBeGreaterThan(50)
  await expectAlive("large requests")
})

test("compressed downloads that nobody takes; those beyond the limit get the file uncompressed", async () => {
  await flood(isFull ? 80 : 30, get(`/exports/${finished}/download`, "zstd"))
  await until("all to be answered", () => flooders.every(({ head }) => head().includes("\r\n\r\n")))
  await expectAlive("zstd downloads")
  const [coded, plain] = [true, false].map((is) =>
    flooders.filter(({ head }) => head().includes("Content-Encoding: zstd") === is)
  )
  expect(coded!.length).toBe(limits.compressedBodies)
  for (const { head } of plain!) {
    expect(head()).toMatch(/^HTTP\/1.1 200 /)
    expect(head()).toMatch(/\r\nContent-Length: \d+\r\n/i)
    expect(head()).toMatch(/\r\nVary: Accept-Encoding\r\n/i)
    expect(/\r\nETag: "([^"]*)"/.exec(head())?.[1]).toMatch(/-[0-9a-f]{8}$/)
  }
  for (const { socket } of flooders) socket.destroy()
  await until("a download to be compressed again", async () => {
    const { headers, body } = await fetch(`${service.url}/exports/${finished}/download`, {
      headers: { "Accept-Encoding": "zstd" }
    })
    await body?.cancel()
    return headers.get("Content-Encoding") === "zstd"
  })
})

test("compressed streams of one key that nobody takes", async () => {
  await flood(isFull ? 60 : 20, get("/exports/csv?apiKey=one", "zstd"))
  await until("16 to be answered", () => flooders.filter(({ head }) => head().startsWith("HTTP/1.1 200")).length >= 16)
  await expectAlive("zstd streams")
})

test("bodies that do not end; the oldest are refused, and a body that does end is read", async () => {
  await flood(isFull ? 1_000 : 300, post("Content-Length: 65536", " ".repeat(65_000)))
  await expectAlive("bodies")
  await until("some bodies to be refused", () => flooders.some(({ head }) => head().startsWith("HTTP/1.1 408 ")))
  const { status } = await send(service.url, {
    method: "POST",
    target: "/exports/estimate",
    headers: { "Content-Type": "application/json" },
    body: '{"total": 1}'
  })
  expect(status).toBe(200)
})

test("event streams, whose memory is free again after they have ended", async () => {
  const sql = await connect(service.database, 1)
  await sql.unsafe("begin; lock table public.users in access exclusive mode")
  const id = await createExport(service)
  const before = memoryMb("VmRSS")
  await flood(isFull ? limits.eventStreams : 100, get(`/exports/${id}/events`))
  await until("all to be answered", () => flooders.every(({ head }) => head().startsWith("HTTP/1.1 200")))
  const [full] = isFull ? [await send(service.url, { target: `/exports/${id}/events` })] : []
  if (full) expectProblem(full, 503)
  await expectAlive("event streams")
  for (const { socket } of flooders) socket.destroy()
  await fetch(`${service.url}/exports/${id}`, { method: "DELETE" })
  await sql.unsafe("rollback")
  await until("the memory to be free", () => memoryMb("VmRSS") < before + 30)
})

test("requests with ever new keys", async () => {
  const count = isFull ? 100_000 : 1_000
  let next = 0
  const ask = async () => {
    while (next < count) {
      const key = String(next++).padStart(limits.apiKeyChars, "k")
      const response = await fetch(`${service.url}/exports/csv?apiKey=${key}`, { method: "HEAD" })
      if (response.status !== 200) throw new Error(`${response.status}`)
    }
  }
  await Promise.all(Array.from({ length: 16 }, ask))
  await expectAlive("keys")
})

test("idle connections", async () => {
  const count = isFull ? 10_000 : limits.connections + 100
  await flood(count, "")
  await expectAlive("connections")
  await until("those beyond the limit to be closed", () => stillOpen() <= limits.connections)
  await expectAlive("connections, later")
})
