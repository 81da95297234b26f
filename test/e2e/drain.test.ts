/** SIGTERM during streams: who takes the rest in time gets a complete body, and the others see that theirs is incomplete. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "node:net"
import { copyCsv } from "../support/client.ts"
import { hasNginx, startNginx } from "../support/nginx.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { makeUsersLarge, sourceBackends, sourceIsLeft } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

/** The time that container runtimes leave before they kill. */
const KILL_MS = 10_000
/** More than the buffers hold between a service and its client. */
const ROWS = 500_000
/** Rows for an hour, each as large as a chunk. */
const steady = `create view public.steady as
  select id, repeat('x', 65536) || pg_sleep(0.02)::text as padding from (select generate_series(1, 200000) as id) numbered`

let service: Service
let went: Buffer
let drainMs: number
const cut = new Map<string, Buffer>()
/** The ways in which connections fail. */
const errors = new Map<string, string | undefined>()
const endOf = (name: string) => cut.get(name)!.toString("latin1").slice(-80)

/** More bytes than the head of an answer has. */
const BEGINNING = 100_000
/** Begins a stream. Its client stops after the beginning, and takes the rest when `go` is called. */
const openStream = async (name: string, query: string, { coding = "identity", version = "1.1", url = service.url } = {}) => {
  let stalled: Socket | undefined
  let received = 0
  const head =
    `GET /exports/csv?${query}&apiKey=${name} HTTP/${version}\r\nHost: localhost\r\nConnection: close\r\n` +
    `Accept-Encoding: ${coding}\r\n\r\n`
  const wire = exchange(url, head, (socket, data) => {
    received += data.length
    if (stalled || received < BEGINNING) return
    stalled = socket.pause().once("error", ({ code }: NodeJS.ErrnoException) => errors.set(name, code))
  })
  await until("the stream to begin", () => stalled !== undefined)
  return { wire, go: () => void stalled!.resume() }
}

beforeAll(async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 1)
  await sql.unsafe(steady)
  // In any coding this is far more than the buffers hold.
  await makeUsersLarge(database, 100_000_000)
  service = await startService({ DATABASE_URL: database, EXPORT_DATASETS: "public.users,public.steady" })
  const proxy = hasNginx ? await startNginx(service.url) : undefined
  const going = await openStream("going", `dataset=users&total=${ROWS}`)
  const stalling = {
    identity: await openStream("identity", "dataset=users"),
    gzip: await openStream("gzip", "dataset=users", { coding: "gzip" }),
    zstd: await openStream("zstd", "dataset=users", { coding: "zstd" }),
    stalledWithoutChunks: await openStream("stalledWithoutChunks", "dataset=users", { version: "1.0" }),
    ...(proxy !== undefined && { proxied: await openStream("proxied", "dataset=users", { url: proxy }) })
  }
  const reading = {
    reading: await openStream("reading", "dataset=steady"),
    errorRow: await openStream("errorRow", "dataset=steady&errorRow=true"),
    withoutChunks: await openStream("withoutChunks", "dataset=steady", { version: "1.0" })
  }
  for (const { go } of Object.values(reading)) go()

  const begun = performance.now()
  service.signal("SIGTERM")
  await until("the drain to begin", () => service.log().some(({ message }) => String(message).startsWith("stopping")))
  going.go()
  went = await going.wire
  await service.exited
  drainMs = performance.now() - begun
  for (const { go } of Object.values(stalling)) go()
  for (const [name, { wire }] of Object.entries({ ...stalling, ...reading })) cut.set(name, await wire)
})

test("a service exits in time even if its clients do not end, and ends its sessions of the source", async () => {
  expect(await service.exited).toBe(0)
  expect(drainMs).toBeLessThan(KILL_MS)
  await sourceIsLeft(service.database)
  expect(await sourceBackends(service.database)).toEqual([])
})

test("the log says how many responses are aborted when the time is over", () => {
  const lines = service.log().map(({ message }) => String(message))
  expect(lines).toContainEqual(
    expect.stringMatching(/^drain timeout: aborting [1-9]\d* responses, returning 0 jobs to the queue$/)
  )
})

test("a client that takes the rest in time gets the complete file", async () => {
  expect(went.toString("latin1", 0, 15)).toBe("HTTP/1.1 200 OK")
  expect(chunkedBody(went).equals(await copyCsv(service, `select * from users limit ${ROWS}`))).toBe(true)
})

describe("a body that is cut is incomplete", () => {
  test.each(["identity", "gzip", "zstd"])("for a client that takes nothing, in %s", (coding) => {
    const wire = cut.get(coding)!
    const head = wire.toString("latin1", 0, wire.indexOf("\r\n\r\n") + 2)
    expect(head).toStartWith("HTTP/1.1 200")
    expect(head.includes(`\r\nContent-Encoding: ${coding}\r\n`)).toBe(coding !== "identity")
    expect(() => chunkedBody(wire)).toThrow("the body is incomplete")
    expect(endOf(coding)).not.toEndWith("\r\n0\r\n\r\n")
  })
  test("for a client that takes what there is", () => {
    const wire = cut.get("reading")!
    expect(wire.length).toBeGreaterThan(65_536)
    expect(() => chunkedBody(wire)).toThrow("the body is incomplete")
    expect(endOf("reading")).not.toEndWith("\r\n0\r\n\r\n")
  })
  test("for an HTTP/1.0 client, whose connection is reset, since an ordinary end would be the end of the body", () => {
    for (const name of ["withoutChunks", "stalledWithoutChunks"]) {
      expect(cut.get(name)!.toString("latin1")).not.toContain("Transfer-Encoding")
      expect(errors.get(name)).toBe("ECONNRESET")
    }
  })
  test.skipIf(!hasNginx)("for a client of an nginx that speaks HTTP/1.0 to the service", () => {
    expect(cut.get("proxied")!.toString("latin1")).toStartWith("HTTP/1.1 200")
    expect(() => chunkedBody(cut.get("proxied")!)).toThrow("the body is incomplete")
  })
  test("and ends with the error line for a client that asked for it with errorRow=true", () => {
    expect(endOf("errorRow")).toMatch(/\n"__ERROR__","internal_server_error"\n\r\n0\r\n\r\n$/)
  })
})
