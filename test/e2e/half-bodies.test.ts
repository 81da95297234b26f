/**
 * Streams over HTTP/1.0, where the end of the connection is the end of the body, and all that may end them in the middle:
 * every client, and every client of a proxy that speaks HTTP/1.0 to the service, sees that its body is incomplete.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "node:net"
import { copyCsv } from "../support/client.ts"
import { hasNginx, startNginx } from "../support/nginx.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { makeUsersLarge, terminateSource } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

/** 130 GB, more than the buffers between a service and its client take. */
const PLENTY = `create view public.plenty as
  select id, repeat('x', 65536) as padding from (select generate_series(1, 2000000) as id) numbered`

const database = async () => {
  const url = await freshDatabase()
  await (await connect(url, 1)).unsafe(PLENTY)
  return url
}

/** Takes all bytes until the connection ends. */
type Rest = () => Promise<{ readonly wire: Buffer; readonly error: string | undefined }>

const BEGINNING = 300_000
const SLOW_MS = 20

/** A client that reads the beginning of a stream quickly, and then slowly or not at all. */
const openStream = async (url: string, version: "1.0" | "1.1", slow: boolean, query = "dataset=plenty"): Promise<Rest> => {
  let socket: Socket | undefined
  let error: string | undefined
  let received = 0
  let resting = false
  const head = `GET /exports/csv?${query} HTTP/${version}\r\nHost: localhost\r\nConnection: close\r\n\r\n`
  const wire = exchange(url, head, (from, data) => {
    received += data.length
    socket ??= from.once("error", ({ code }: NodeJS.ErrnoException) => (error = code))
    if (received <= BEGINNING || resting) return
    from.pause()
    if (slow) setTimeout(() => from.resume(), SLOW_MS)
  })
  await until("the stream to begin", () => received > BEGINNING)
  return async () => {
    resting = true
    socket!.resume()
    return { wire: await wire, error }
  }
}

const openBoth = async (url: string, version: "1.0" | "1.1") => [
  await openStream(url, version, false),
  await openStream(url, version, true)
]

const causes: Readonly<Record<string, (service: Service) => Promise<unknown>>> = {
  "SIGKILL of the service": (service) => {
    service.signal("SIGKILL")
    return service.exited
  },
  "the end of the database's backend": (service) => terminateSource(service.database)
}

describe.each(Object.entries(causes))("%s", (_name, happens) => {
  let service: Service
  let clients: ReadonlyArray<Rest>
  let proxied: ReadonlyArray<Rest>
  beforeAll(async () => {
    service = await startService({ DATABASE_URL: await database(), EXPORT_DATASETS: "public.users,public.plenty" })
    clients = await openBoth(service.url, "1.0")
    proxied = hasNginx ? await openBoth(await startNginx(service.url), "1.1") : []
    await happens(service)
  })
  afterAll(() => service.stop())

  test("resets the connections of stalled and of slow HTTP/1.0 clients", async () => {
    for (const rest of clients) expect((await rest()).error).toBe("ECONNRESET")
  })
  test.skipIf(!hasNginx)("leaves the clients of an nginx with an incomplete body", async () => {
    for (const rest of proxied) {
      const { wire } = await rest()
      expect(wire.toString("latin1", 0, 12)).toBe("HTTP/1.1 200")
      expect(() => chunkedBody(wire)).toThrow("the body is incomplete")
    }
  })
})

test("a client gets a complete stream that just fits into the buffers, or sees that it is incomplete", async () => {
  const service = await startService({ CHUNK_SIZE: "1024", RATE_LIMIT_MAX: "1000" })
  await makeUsersLarge(service.database, 1_000_000)
  const totals = Array.from({ length: 12 }, (_, at) => 20_000 + at * 7_919)
  const clients = await Promise.all(
    totals.map((total) => openStream(service.url, "1.0", false, `apiKey=${total}&total=${total}`))
  )
  const ended = () => service.log().filter(({ message }) => message === "response ended: complete").length
  await until("the first streams to have been read from the database", () => ended() >= 3)
  service.signal("SIGKILL")
  await service.exited
  const complete: Array<boolean> = []
  for (const [at, rest] of clients.entries()) {
    const { wire, error } = await rest()
    const lines = wire.toString("latin1").split("\r\n\r\n")[1]!.split("\n").length
    if (error === undefined) expect(lines).toBe(totals[at]! + 2)
    complete.push(error === undefined)
  }
  expect(new Set(complete)).toEqual(new Set([true, false]))
})

test("a stream over HTTP/1.0 that ended is complete, also for a client that stalls in the middle", async () => {
  const service = await startService({ DATABASE_URL: await database() })
  const expected = await copyCsv(service, "select * from users")
  for (let time = 0; time < 3; time++) {
    const rest = await openStream(service.url, "1.0", false, `dataset=users&apiKey=${time}`)
    const { wire, error } = await rest()
    expect(error).toBeUndefined()
    expect(wire.subarray(wire.indexOf("\r\n\r\n") + 4).equals(expected)).toBe(true)
  }
  if (hasNginx) {
    const rest = await openStream(await startNginx(service.url), "1.1", false, "dataset=users")
    expect(chunkedBody((await rest()).wire).equals(expected)).toBe(true)
  }
  await service.stop()
})
