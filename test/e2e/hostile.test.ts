import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import { attack, bases, ID, routes } from "../support/attacks.ts"
import { expectProblem, send, type RawRequest } from "../support/raw-http.ts"
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

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"]
const SECRET_KEY = "key-that-no-log-shows"

/** Sends a wrong request and expects the problem document of this status; HEAD gets none. */
const expectRefused = async (request: RawRequest, status: number) => {
  const answer = await send(service.url, request)
  if (request.method !== "HEAD") expectProblem(answer, status)
  else expect([answer.status, answer.headers.get("Content-Type"), answer.body]).toEqual([status, "application/problem+json", ""])
  return answer
}

test("500 wrong requests each get the problem document of a 4xx", async () => {
  await fc.assert(
    fc.asyncProperty(attack, async ({ status, ...request }) => void (await expectRefused(request, status))),
    { numRuns: 500 }
  )
})

describe("a known path with a wrong method is 405 and says what is allowed", () => {
  test.each(Object.entries(routes))("%s", async (path, allowed) => {
    for (const method of METHODS.filter((name) => !allowed.includes(name))) {
      for (const target of [path, `${path}?unknown=1`]) {
        const { headers } = await expectRefused({ method, target, body: method === "POST" ? "{" : "" }, 405)
        expect(headers.get("Allow")?.split(", ").toSorted()).toEqual(allowed.toSorted())
      }
    }
  })
})

const problem = async (request: RawRequest, status = 400) => expectProblem(await send(service.url, request), status)

describe("the problem document names", () => {
  test("each wrong parameter, its value and what is allowed", async () => {
    const { errors, detail, error, instance } = await problem({
      target: "/api/v1/exports/csv?country_code=usa&min_ltv=abc&columns=id,x&total=0&apiKey=a"
    })
    expect(instance).toBe("/api/v1/exports/csv")
    expect(errors).toEqual([
      { field: "country_code", detail: expect.stringMatching(/US or UK.*"usa"/) },
      { field: "min_ltv", detail: expect.stringMatching(/decimal.*"abc"/) },
      { field: "columns", detail: expect.stringMatching(/"x".*id, name, email, signup_date/) },
      { field: "total", detail: expect.stringMatching(/from 1.*"0"/) }
    ])
    for (const entry of errors) expect(detail).toContain(`${entry.field} ${entry.detail}`)
    expect(error).toBe(detail)
  })
  test("the known parameters beside an unknown one, once however often the unknown one occurs", async () => {
    const { errors } = await problem({ method: "POST", target: "/exports/csv?sort=id&sort=name&sort=email" })
    expect(errors).toEqual([
      { field: "sort", detail: expect.stringContaining("country_code, subscription_tier, min_ltv, columns") }
    ])
    expect((await problem({ target: `/exports/${ID}/status?x=1` })).errors[0]!.field).toBe("x")
  })
  test("the path that does not exist", async () => {
    expect((await problem({ target: "/nothing/here?x=1" }, 404)).instance).toBe("/nothing/here")
    expect((await problem({ target: `/exports/${ID}/download` }, 404)).detail).toContain(ID)
  })
})

test("a client tells by `type` what it is that does not exist, and what is wrong", async () => {
  const types: ReadonlyArray<readonly [target: string, status: number, type: string]> = [
    ["/nothing", 404, "not-found"],
    [`/exports/${ID}`, 404, "export-not-found"],
    ["/exports/no-uuid/download", 404, "export-not-found"],
    ["/datasets/nothing", 404, "dataset-not-found"],
    ["/exports?limit=0", 400, "invalid-request"],
    ["/exports/estimate", 405, "method-not-allowed"],
    [`/exports?x=${"1".repeat(17_000)}`, 414, "url-too-long"]
  ]
  for (const [target, status, type] of types) expectProblem(await send(service.url, { target }), status, type)
})

const post = (body: string | Uint8Array, status: number, more: Partial<RawRequest> = {}) =>
  expectRefused({ method: "POST", target: "/exports/csv", body, ...more }, status)

describe("a body is refused", () => {
  test.each(['{"total":1,"total":2}', '{"total":1,"total":1}', '{"columns":"id","country_code":"US","columns":["id"]}'])(
    "with a member twice: %s",
    (body) => post(body, 400)
  )
  test("together with a query", () => post('{"total":1}', 400, { target: "/exports/csv?total=1" }))
  test("beyond the limit, whether it has a length or comes in chunks", async () => {
    for (const size of [65_537, 1_000_000, 20_000_000]) {
      for (const chunked of [false, true]) await post(" ".repeat(size), 413, { chunked })
    }
  })
  test("far beyond the limit, by its Content-Length alone", async () => {
    for (const length of ["70000000", "999999999999"]) await post("{", 413, { headers: { "Content-Length": length } })
  })
})

describe("a Host header that makes no URL", () => {
  test.each(["a b/c?d#e", "[::1", "user:pw@host:99999999", "a%b"])("%p is refused", (host) =>
    expectRefused({ target: "/exports/nope", headers: { Host: host } }, 400)
  )
  test.each(["127.0.0.1\r\nHost: 127.0.0.1", "127.0.0.1\r\nhost: evil.example", "\r\nHost: localhost"])(
    "%p, which makes two of them, is refused",
    (host) => expectRefused({ target: "/health", headers: { Host: host } }, 400)
  )
  test("may be missing in HTTP/1.0", async () => {
    const probe = { target: "/health", version: "1.0", headers: { Host: undefined } } as const
    expect(await send(service.url, probe)).toMatchObject({ status: 200, body: '{"status":"ok"}' })
    await expectRefused({ ...probe, target: "/exports/nope" }, 404)
    await expectRefused({ ...probe, target: "/exports/csv?x=1" }, 400)
  })
})

describe("wrong requests to the stream", () => {
  test("are 400 however many they are, and do not count in the rate limit", async () => {
    const target = `/exports/csv?apiKey=${SECRET_KEY}`
    const wrong = ["&x=1", "&total=0", "&errorRow=maybe", "&columns=secret", "&total=1&total=1", "&country_code=%00", "&min_ltv="]
    for (let round = 0; round < 20; round++) {
      for (const query of wrong) {
        const { headers } = await expectRefused({ target: `${target}${query}` }, 400)
        expect(headers.get("RateLimit")).toMatch(/^"stream";r=60;/)
      }
    }
    const { status, headers } = await send(service.url, { target: `${target}&total=1` })
    expect([status, headers.get("RateLimit")]).toEqual([200, expect.stringMatching(/^"stream";r=59;/)])
  })
})

test("a request that the HTTP parser refuses ends its own connection alone", async () => {
  for (const request of [
    { target: "/health HTTP/9.9\r\nX: " },
    { target: "/health", headers: { "Content-Length": "abc" } },
    { target: "/health", headers: { "Content-Length": "5", "Transfer-Encoding": "chunked" } },
    { target: "/health", headers: { "X-Junk": "a".repeat(33_000) } },
    { target: `/health?${"a".repeat(33_000)}` },
    { target: "/health", headers: { Host: undefined } },
    { target: "/health", method: "BREW" },
    { target: "/health", method: "\x16\x03\x01" }
  ]) {
    const { status } = await send(service.url, request)
    expect(status).not.toBe(200)
    expect((await send(service.url, { target: "/health" })).status).toBe(200)
  }
})

test("after all wrong requests no export was created, and the log has nothing above INFO and no API key", async () => {
  for (const base of bases) {
    const { status, body } = await send(service.url, { target: base })
    expect([status, JSON.parse(body)]).toEqual([200, { exports: [], nextCursor: null }])
  }
  await send(service.url, { target: `/exports/${ID}/status?last` })
  await until("the last request to be logged", () => service.log().at(-1)?.annotations["path"] === `/exports/${ID}/status`)
  const lines = service.log()
  expect(lines.filter(({ logLevel }) => !["INFO", "DEBUG", "TRACE"].includes(logLevel))).toEqual([])
  expect(JSON.stringify(lines)).not.toContain(SECRET_KEY)
})
