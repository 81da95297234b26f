/** What a web page in a browser can do: under a name that was rebound to the service, or across origins. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { expectProblem, send, type RawAnswer } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"

setDefaultTimeout(60_000)
const APP = "https://app.example.com"
let service: Service
/** A service behind a proxy, for the pages of another host. */
let opened: Service
beforeAll(async () => {
  service = await startService()
  opened = await startService({
    DATABASE_URL: service.database,
    ALLOWED_HOSTS: "Sluice.Example.com:443, 10.1.2.3,[fd00:0:0::1]:80",
    CORS_ORIGINS: `${APP}, http://localhost:3000`
  })
})
afterAll(async () => {
  expect([await service.stop(), await opened.stop()]).toEqual([0, 0])
})

/** Sends a request as a browser would: with the host of the URL and the origin of the page. */
const ask = (to: Service, method: string, target: string, headers: Record<string, string>): Promise<RawAnswer> =>
  send(to.url, { method, target, headers })
const portOf = ({ url }: Service) => new URL(url).port

describe("a host that is not allowed", () => {
  const foreign = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "notlocalhost",
    "10.1.2.3",
    "128.0.0.1",
    "[::2]"
  ]
  test.each(foreign)("%s is 421, on every route and whatever the method", async (host) => {
    for (const [method, target] of [
      ["GET", "/datasets"],
      ["GET", "/api/v1/exports/csv?total=1"],
      ["POST", "/exports"],
      ["DELETE", "/exports/x"],
      ["OPTIONS", "/exports"],
      ["GET", "/nothing"]
    ] as const) {
      const { detail } = expectProblem(await ask(service, method, target, { Host: host }), 421)
      expect(detail).toMatch(/^The host "[^"]+" is not served here$/)
    }
  })
  test("is allowed in a probe of /health and /ready", async () => {
    for (const target of ["/health", "/ready"])
      expect((await ask(service, "GET", target, { Host: "10.42.0.7:8080" })).status).toBe(200)
  })
})

describe("an allowed host", () => {
  const loopback = [
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "sluice.localhost:8080",
    "127.0.0.1",
    "127.9.9.9:80",
    "[::1]:8080",
    "[0:0::1]"
  ]
  test.each(loopback)("%s, since it is a loopback name", async (host) => {
    expect((await ask(service, "GET", "/datasets", { Host: host })).status).toBe(200)
  })
  test.each(["sluice.example.com", "SLUICE.example.com.:8443", "10.1.2.3:80", "[fd00::1]", "localhost"])(
    "%s, with ALLOWED_HOSTS",
    async (host) => {
      expect((await ask(opened, "GET", "/datasets", { Host: host })).status).toBe(200)
    }
  )
  test("HOST itself, and with ALLOWED_HOSTS=* any host", async () => {
    const named = await startService({ DATABASE_URL: service.database, HOST: "0.0.0.0" })
    expect((await ask(named, "GET", "/datasets", { Host: "0.0.0.0" })).status).toBe(200)
    expect((await ask(named, "GET", "/datasets", { Host: "evil.example" })).status).toBe(421)
    const any = await startService({ DATABASE_URL: service.database, ALLOWED_HOSTS: "*" })
    expect((await ask(any, "GET", "/datasets", { Host: "evil.example" })).status).toBe(200)
    expect([await named.stop(), await any.stop()]).toEqual([0, 0])
  })
})

describe("a POST or DELETE of a page", () => {
  const id = "6f1c2a34-0000-4000-8000-00000000beef"
  const changes = [
    ["POST", "/exports/csv?total=1"],
    ["POST", "/exports/estimate"],
    ["POST", "/api/v1/exports"],
    ["DELETE", `/exports/${id}`]
  ] as const

  test.each(["https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", "http://", "nonsense", APP])(
    "of the origin %s is 403",
    async (origin) => {
      for (const [method, target] of changes) {
        const answer = await ask(service, method, target, { Host: `localhost:${portOf(service)}`, Origin: origin })
        expect(expectProblem(answer, 403).detail).toMatch(/^A page of the origin "[^"]+" may not do this$/)
        expect(answer.headers.get("Access-Control-Allow-Origin")).toBeNull()
      }
    }
  )
  test("from the host that it is sent to is allowed, also behind a proxy with TLS", async () => {
    const port = portOf(service)
    for (const [Host, Origin] of [
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`],
      [`localhost:${port}`, `https://localhost:${port}`],
      ["localhost:443", "https://localhost"],
      ["localhost", "https://localhost"]
    ] as const) {
      expect((await ask(service, "POST", "/exports?total=1", { Host, Origin })).status).toBe(202)
      expect((await ask(service, "DELETE", `/exports/${id}`, { Host, Origin })).status).toBe(404)
    }
  })
  test("without an origin, as programs send it, is allowed", async () => {
    expect((await ask(service, "POST", "/exports?total=1", {})).status).toBe(202)
  })
  test("cannot be read by the page, and gets no answer to a preflight request", async () => {
    const { status, headers } = await ask(service, "GET", "/datasets", { Origin: APP })
    expect([status, headers.get("Access-Control-Allow-Origin"), headers.get("Vary")]).toEqual([200, null, null])
    const preflight = { Origin: APP, "Access-Control-Request-Method": "POST" }
    expectProblem(await ask(service, "OPTIONS", "/exports", preflight), 405)
  })
})

/** Returns the origin whose pages may read an answer, and the headers by which the answer varies. */
const allowed = ({ headers }: RawAnswer) => [headers.get("Access-Control-Allow-Origin"), headers.get("Vary")]

describe("a page that CORS_ORIGINS names", () => {
  test("gets an answer to its preflight request", async () => {
    for (const origin of [APP, "http://localhost:3000"]) {
      const preflight = {
        Origin: origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type"
      }
      const answer = await ask(opened, "OPTIONS", "/api/v1/exports/csv", preflight)
      expect([answer.status, answer.body, ...allowed(answer)]).toEqual([204, "", origin, "Origin"])
      expect(answer.headers.get("Access-Control-Allow-Methods")).toBe("GET, HEAD, POST, DELETE")
      expect(answer.headers.get("Access-Control-Allow-Headers")?.split(", ")).toEqual(
        expect.arrayContaining(["Content-Type", "X-API-Key", "Range", "If-None-Match", "Last-Event-ID"])
      )
      expect(answer.headers.get("Access-Control-Allow-Credentials")).toBeNull()
    }
  })
  test("creates, reads and streams exports, and sees the headers", async () => {
    const created = await ask(opened, "POST", "/exports?total=1", { Origin: APP })
    expect([created.status, ...allowed(created)]).toEqual([202, APP, "Origin"])
    expect(created.headers.get("Access-Control-Expose-Headers")?.split(", ")).toEqual(
      expect.arrayContaining(["Location", "ETag", "Content-Disposition", "RateLimit", "Sluice-Truncated"])
    )
    const streamed = await ask(opened, "GET", "/exports/csv?total=1", { Origin: APP })
    expect([streamed.status, ...allowed(streamed)]).toEqual([200, APP, "Accept-Encoding, Origin"])
    const wrong = await ask(opened, "GET", "/exports/csv?total=0", { Origin: APP })
    expect([wrong.status, ...allowed(wrong)]).toEqual([400, APP, "Origin"])
  })
  test("must have exactly the origin that is named", async () => {
    for (const origin of ["https://evil.example", "http://app.example.com", `${APP}:8443`, `${APP}.evil.example`]) {
      const read = await ask(opened, "GET", "/datasets", { Origin: origin })
      expect([read.status, ...allowed(read)]).toEqual([200, null, "Origin"])
      expectProblem(await ask(opened, "POST", "/exports?total=1", { Origin: origin }), 403)
      expectProblem(await ask(opened, "OPTIONS", "/exports", { Origin: origin, "Access-Control-Request-Method": "POST" }), 405)
    }
  })
})

const post = (type: string | undefined, body = '{"total":1}', target = "/exports") =>
  send(service.url, { method: "POST", target, body, headers: { "Content-Type": type } })

describe("a body", () => {
  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    undefined,
    "",
    "application/jsonp",
    "application/json, text/plain",
    "application/json;charset=iso-8859-1"
  ])("of the type %p is 415", async (type) => {
    for (const target of ["/exports", "/api/v1/exports/csv", "/exports/estimate"]) {
      const answer = await post(type, '{"total":1}', target)
      expect(expectProblem(answer, 415).detail).toContain("application/json")
      expect([answer.headers.get("Accept"), answer.headers.get("Accept-Post")]).toEqual(["application/json", "application/json"])
    }
  })
  test.each(["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"; v=1'])(
    "of the type %p is read",
    async (type) => {
      expect((await post(type)).status).toBe(202)
    }
  )
  test("that is empty needs no Content-Type", async () => {
    for (const type of ["text/plain", undefined]) expect((await post(type, "")).status).toBe(202)
  })
})
