import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)
let service: Service
beforeAll(async () => {
  // No stream is refused because the streams before it take too long.
  service = await startService({ STREAMS_PER_KEY: String(LIMIT) })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const LIMIT = 60
const ROW = /^id,name,.*\n1,.*\n$/
const stream = (query: string, headers: Record<string, string> = {}) =>
  fetch(`${service.url}/api/v1/exports/csv?total=1${query}`, { headers })
/** Returns `r` and `t` of the RateLimit header. */
const stateOf = ({ headers }: { readonly headers: Headers }) => {
  expect(headers.get("RateLimit-Policy")).toBe(`"stream";q=${LIMIT};w=60`)
  const [, remaining, seconds] = /^"stream";r=(\d+);t=(\d+)$/.exec(headers.get("RateLimit") ?? "") ?? []
  return { remaining: Number(remaining), seconds: Number(seconds) }
}

test("of 61 requests with one key in a minute 60 are served, and the last one is 429 with Retry-After", async () => {
  for (let request = 1; request <= LIMIT; request++) {
    const response = await stream("&apiKey=sequential")
    expect(response.status).toBe(200)
    expect(await response.text()).toMatch(ROW)
    expect(stateOf(response).remaining).toBe(LIMIT - request)
  }
  const refused = await send(service.url, { target: "/api/v1/exports/csv?total=1&apiKey=sequential" })
  const { error, errors } = expectProblem(refused, 429)
  expect(error).toBe("Too many requests - rate limit exceeded")
  expect(errors).toEqual([])
  const { remaining, seconds } = stateOf(refused)
  expect(remaining).toBe(0)
  expect(seconds).toBeGreaterThan(0)
  expect(seconds).toBeLessThanOrEqual(60)
  expect(refused.headers.get("Retry-After")).toBe(String(seconds))
})

describe("when a key is used up", () => {
  beforeAll(async () => {
    for (let request = 0; request < LIMIT; request++) await (await stream("&apiKey=spent")).text()
  })
  test("it is refused under both prefixes, as a parameter and as a header, for GET and HEAD", async () => {
    for (const base of ["/exports", "/api/v1/exports"]) {
      expectProblem(await send(service.url, { target: `${base}/csv?total=1&apiKey=spent` }), 429)
      expectProblem(await send(service.url, { target: `${base}/csv?total=1`, headers: { "X-API-Key": "spent" } }), 429)
      const { status, body } = await send(service.url, { method: "HEAD", target: `${base}/csv?total=1&apiKey=spent` })
      expect([status, body]).toEqual([429, ""])
    }
  })
  test("other keys and requests without a key are not affected", async () => {
    for (const query of ["&apiKey=other", "&apiKey=Spent", "&apiKey=spent%20", ""]) {
      const response = await stream(query)
      expect(response.status).toBe(200)
      expect(stateOf(response).remaining).toBe(LIMIT - 1)
      await response.text()
    }
  })
  test("the database is not asked whether it accepts the value of a filter", async () => {
    const target = "/exports/csv?id=gte.none&apiKey="
    expectProblem(await send(service.url, { target: `${target}asking` }), 400)
    expectProblem(await send(service.url, { target: `${target}spent` }), 429)
  })
  test("a malformed request is 429 and not 400, and no other route is limited", async () => {
    expectProblem(await send(service.url, { target: "/exports/csv?total=0&apiKey=spent" }), 429)
    for (const path of ["/health", "/exports"]) {
      expect((await send(service.url, { target: path, headers: { "X-API-Key": "spent" } })).status).toBe(200)
    }
    const created = await send(service.url, { method: "POST", target: "/exports/csv?total=1", headers: { "X-API-Key": "spent" } })
    expect(created.status).toBe(202)
  })
})

test("a malformed request does not count in the limit", async () => {
  for (let request = 0; request < 3; request++) {
    const refused = await stream("&id=gte.none&apiKey=malformed")
    expect([refused.status, stateOf(refused).remaining]).toEqual([400, LIMIT])
    await refused.text()
  }
  expect(stateOf(await stream("&apiKey=malformed")).remaining).toBe(LIMIT - 1)
})

test("a key counts as the same in a parameter and in a header, and the parameter wins", async () => {
  expect(stateOf(await stream("&apiKey=either")).remaining).toBe(LIMIT - 1)
  expect(stateOf(await stream("", { "X-API-Key": "either" })).remaining).toBe(LIMIT - 2)
  expect(stateOf(await stream("&apiKey=either", { "X-API-Key": "unused" })).remaining).toBe(LIMIT - 3)
  expect(stateOf(await stream("", { "X-API-Key": "unused" })).remaining).toBe(LIMIT - 1)
})

test("of 200 simultaneous requests with one key exactly 60 are served", async () => {
  const responses = await Promise.all(Array.from({ length: 200 }, () => stream("&apiKey=concurrent")))
  const bodies = await Promise.all(responses.map((response) => response.text()))
  const served = bodies.filter((body, index) => responses[index]!.status === 200 && ROW.test(body))
  const refused = responses.filter(({ status }) => status === 429)
  expect([served.length, refused.length]).toEqual([LIMIT, 200 - LIMIT])
  for (const response of refused) expect(stateOf(response).remaining).toBe(0)
})

test("refused requests do not lengthen the window", async () => {
  const short = await startService({ DATABASE_URL: service.database, RATE_LIMIT_MAX: "2", RATE_LIMIT_WINDOW: "2 seconds" })
  const request = () => send(short.url, { target: "/exports/csv?total=1&apiKey=k" })
  const begun = performance.now()
  expect([(await request()).status, (await request()).status, (await request()).status]).toEqual([200, 200, 429])
  // The requests go on all the time, so a refusal that counted would keep the window full.
  const answer = await until("the window to slide on", async () => {
    const again = await request()
    return again.status === 200 && again
  })
  expect(performance.now() - begun).toBeGreaterThanOrEqual(2_000)
  expect(performance.now() - begun).toBeLessThan(4_000)
  expect(answer.headers.get("RateLimit-Policy")).toBe('"stream";q=2;w=2')
  expect(await short.stop()).toBe(0)
})
