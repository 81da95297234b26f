/** The limits of one client: streams at once, the time of a stream, and other requests that use the source. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "node:net"
import { limits } from "../../src/limits.ts"
import { shortLimits } from "../support/limits.ts"
import { exchange, expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { makeUsersLarge, sourceBackends, sourceIsLeft } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)
const MOST = 2
const LIMIT = 5
let service: Service
beforeAll(async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 1)
  await sql`create table public.small as select i as id from generate_series(1, 3) i`
  await makeUsersLarge(database, 100_000_000)
  const most = { STREAMS_PER_KEY: String(MOST), RATE_LIMIT_MAX: String(LIMIT) }
  const settings = { DATABASE_URL: database, EXPORT_DATASETS: "public.users,public.small", ...most }
  service = await startService(settings, { limits: shortLimits })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Begins a stream of which the client takes the first bytes only. */
const stall = async (key: string, from = service, more = "") => {
  let stalled: Socket | undefined
  const head = `GET /exports/csv?dataset=users&apiKey=${key}${more} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`
  const wire = exchange(from.url, head, (socket) => {
    stalled ??= socket.pause()
  })
  await until("the stream to begin", () => stalled !== undefined)
  return { wire, go: () => void stalled!.resume(), leave: () => void stalled!.destroy() }
}
const small = (key: string) => send(service.url, { target: `/exports/csv?dataset=small&apiKey=${key}` })
const remaining = ({ headers }: { readonly headers: Headers }) => Number(/;r=(\d+);/.exec(headers.get("RateLimit") ?? "")?.[1])

describe("streams at once of one key", () => {
  test("beyond the limit wait their turn, then are refused, and a refusal does not count in the window", async () => {
    const stalled = await Promise.all([stall("many"), stall("many")])
    const begun = performance.now()
    const answer = await small("many")
    expect(performance.now() - begun).toBeGreaterThanOrEqual(0.9 * shortLimits.streamTurnMs)
    const { detail, error } = expectProblem(answer, 429)
    expect(detail).toContain(`Too many streams with this key at once: ${MOST} are under way`)
    expect(error).toBe(detail)
    expect(answer.headers.get("Retry-After")).toBe(String(shortLimits.streamTurnMs / 1000))
    expect(remaining(answer)).toBe(LIMIT - MOST)
    // The stream waited without a session of the source.
    expect(await sourceBackends(service.database)).toHaveLength(MOST)
    for (const { leave } of stalled) leave()
    await sourceIsLeft(service.database)
  })
  test("let the next one start when one ends, while other keys do not wait", async () => {
    const [first, second] = [await stall("next"), await stall("next")]
    const waiting = small("next")
    expect((await small("other")).status).toBe(200)
    first.leave()
    const answer = await waiting
    expect([answer.status, remaining(answer)]).toEqual([200, LIMIT - MOST - 1])
    second.leave()
  })
  test("that are cancelled while they wait free their turn and their place in the rate limit", async () => {
    const stalled = await Promise.all([stall("left"), stall("left")])
    const left = Bun.connect({
      hostname: new URL(service.url).hostname,
      port: Number(new URL(service.url).port),
      socket: { data() {} }
    })
    const socket = await left
    socket.write("GET /exports/csv?dataset=small&apiKey=left HTTP/1.1\r\nHost: localhost\r\n\r\n")
    const head = () => send(service.url, { method: "HEAD", target: "/exports/csv?dataset=small&apiKey=left&total=0" })
    await until("the stream to wait", async () => remaining(await head()) === LIMIT - MOST - 1)
    socket.terminate()
    await until("the stream to have left", async () => remaining(await head()) === LIMIT - MOST)
    for (const { leave } of stalled) leave()
    expect((await small("left")).status).toBe(200)
  })
  test("are also limited for one address with made-up keys", async () => {
    const all = MOST + limits.addressStreams
    const stalled = await Promise.all(Array.from({ length: all }, (_, index) => stall(`made-up-${index}`)))
    const waiting = small("e")
    // The stream waits when the others leave.
    await until(
      "the stream to count",
      async () => remaining(await send(service.url, { method: "HEAD", target: "/exports/csv?total=0&apiKey=e" })) < LIMIT
    )
    await until("the readers to leave", async () => (await sourceBackends(service.database)).length === all)
    for (const { leave } of stalled) leave()
    expect((await waiting).status).toBe(200)
  })
})

describe("STREAM_MAX_TIME", () => {
  let short: Service
  beforeAll(async () => {
    short = await startService({
      DATABASE_URL: service.database,
      EXPORT_DATASETS: "public.users,public.small",
      STREAM_MAX_TIME: "2 seconds"
    })
  })
  afterAll(async () => {
    expect(await short.stop()).toBe(0)
  })
  test("aborts a stream, which is visibly incomplete, and the log says why", async () => {
    const [stalled, withRow] = await Promise.all([stall("cut", short), stall("row", short, "&errorRow=true")])
    await until(
      "both streams to be aborted",
      () => short.log().filter(({ message }) => String(message).includes("The stream took longer than 2s")).length === 2
    )
    await sourceIsLeft(service.database)
    stalled.go()
    withRow.go()
    expect((await stalled.wire).toString("latin1")).not.toEndWith("\r\n0\r\n\r\n")
    expect((await withRow.wire).toString("latin1")).toMatch(/"__ERROR__","internal_server_error"\n\r\n0\r\n\r\n$/)
  })
  test("answers 504 for a stream whose first row does not come", async () => {
    const sql = await connect(service.database, 1)
    await sql.begin(async (tx) => {
      await tx`lock table public.small in access exclusive mode`
      const { detail } = expectProblem(await send(short.url, { target: "/exports/csv?dataset=small" }), 504)
      expect(detail).toBe("The source gave no row within 2s, the longest that a stream may take")
    })
  })
  test("does not touch a stream that ends in time", async () => {
    expect((await send(short.url, { target: "/exports/csv?dataset=small" })).body).toContain("1\n2\n3\n")
  })
})

/** Other requests that use the source. */
const estimate = (key: string, more: object = {}) =>
  send(service.url, {
    method: "POST",
    target: "/exports/estimate",
    headers: { "X-API-Key": key },
    body: JSON.stringify({ dataset: "small", where: { id: "gte.2" }, ...more })
  })
const filtered = (id: string, key = "filters") =>
  send(service.url, { target: `/exports/csv?dataset=small&apiKey=${key}&id=${id}` })
const job = (id: string, key = "jobs") =>
  send(service.url, { method: "POST", target: `/exports?dataset=small&id=${id}`, headers: { "X-API-Key": key } })

describe("other requests that use the source", () => {
  test("estimates of one key have a window of their own, which wrong requests do not use up", async () => {
    expectProblem(await estimate("asks", { total: 0 }), 400)
    for (let asked = 1; asked <= LIMIT; asked++) {
      const answer = await estimate("asks")
      expect([answer.status, remaining(answer)]).toEqual([200, LIMIT - asked])
      expect(answer.headers.get("RateLimit-Policy")).toBe(`"estimate";q=${LIMIT};w=60`)
    }
    const refused = await estimate("asks")
    expect(expectProblem(refused, 429).error).toBe("Too many requests - rate limit exceeded")
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(0)
    expect((await estimate("another")).status).toBe(200)
    const streamed = await small("asks")
    expect([streamed.status, remaining(streamed)]).toEqual([200, LIMIT - 1])
  })
  test("requests with filters that the source refuses are limited, and streams with valid filters do not count twice", async () => {
    for (let asked = 0; asked < LIMIT * 10 - 1; asked++) expectProblem(await filtered("gte.none"), 400)
    expect([(await filtered("gte.2")).status, (await filtered("gte.2")).status]).toEqual([200, 200])
    expectProblem(await filtered("gte.none"), 400)
    expectProblem(await filtered("gte.none"), 429)
  })
  test("jobs are limited only if the source refuses their filters", async () => {
    /** Sends requests one after the other, and returns the statuses of the answers. */
    const statusesOf = async (count: number, id: string) => {
      const statuses = new Set<number>()
      for (let sent = 0; sent < count; sent++) statuses.add((await job(id)).status)
      return statuses
    }
    expect(await statusesOf(11 * LIMIT, "gte.2")).toEqual(new Set([202]))
    expect(await statusesOf(9 * LIMIT, "gte.none")).toEqual(new Set([400]))
    const body = JSON.stringify({ dataset: "small", where: { id: "gte.none" } })
    const inBody = () => send(service.url, { method: "POST", target: "/exports", headers: { "X-API-Key": "jobs" }, body })
    for (let asked = 0; asked < LIMIT - 1; asked++) expectProblem(await job("gte.none"), 400)
    expect((await job("gte.2")).status).toBe(202)
    expectProblem(await inBody(), 400)
    const refused = await inBody()
    expect(expectProblem(refused, 429).error).toBe("Too many requests - rate limit exceeded")
    expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(0)
    expectProblem(await filtered("gte.none", "jobs"), 429)
    expect((await job("gte.2", "another")).status).toBe(202)
  })
})
