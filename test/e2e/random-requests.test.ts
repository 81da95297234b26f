/**
 * Sends random requests of several clients at once to the built service, which lives, answers as HTTP requires and stays
 * small.
 *
 *     RANDOM_REQUESTS=10000 RANDOM_CLIENTS=8 RANDOM_SEED=1 bun test test/e2e/random-requests.test.ts
 */
import { expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { connect as connectSocket } from "node:net"
import * as fc from "fast-check"
import { EXPORT_ID, randomRequest, SERVICE_HOST, type RandomRequest } from "../support/random-requests.ts"
import { chunkedBody, expectProblem, parseAnswer, requestBytes } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { createGoods } from "./mixed-types.fixture.ts"
import { thingsDatabase } from "./filters.fixture.ts"

/** Relations of other kinds, some with data that cannot be read. */
const relations = `
  create view shop.recent as select * from public.users order by id desc;
  create view shop.broken as select id, 1 / (id - id) as share from public.users;
  create materialized view shop.unfilled as select 1 as id with no data;
  create table shop.parts (id int, note text) partition by range (id);
  create table shop.low partition of shop.parts for values from (0) to (500);
  create table shop.high partition of shop.parts for values from (500) to (1000);
  insert into shop.parts select n, md5(n::text) from generate_series(0, 999) n`

const setting = (name: string, fallback: number) => Number(process.env[name] || fallback)
const REQUESTS = setting("RANDOM_REQUESTS", 400)
const CLIENTS = setting("RANDOM_CLIENTS", 8)
const SEED = setting("RANDOM_SEED", Date.now() % 1_000_000_000)
const MEGABYTES = 150
/** Longer than any wait of the service for these requests. */
const PATIENCE_MS = 60_000

setDefaultTimeout(60_000 + REQUESTS * 200)

/** The outcome of a request: the bytes that came, or why there are none. */
interface Outcome {
  readonly wire: Buffer
  readonly ended: "closed" | "reset" | "left" | "timeout"
}

/** Sends a request over a connection of its own, and reads the answer as the request says. */
const perform = (service: Service, request: RandomRequest): Promise<Outcome> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(service.url)
    const all = requestBytes(service.url, request)
    const socket = connectSocket({ port: Number(port), host: hostname })
    const received: Array<Buffer> = []
    let size = 0
    let ended: Outcome["ended"] = "closed"
    const leave = (why: Outcome["ended"]) => {
      ended = why
      socket.destroy()
    }
    // Events end with their export, which may wait for other exports.
    const isEvents = request.target.includes("/events")
    const timer = setTimeout(() => leave(isEvents ? "left" : "timeout"), isEvents ? 1_000 : PATIENCE_MS)
    socket.on("error", () => {
      ended = ended === "closed" ? "reset" : ended
    })
    socket.on("data", (data: Buffer) => {
      received.push(data)
      size += data.length
      if (request.reading === "abandoned" && size > request.bytes) leave("left")
      if (request.reading !== "slowly" || size > 1_000_000) return
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    })
    socket.once("close", () => {
      clearTimeout(timer)
      resolve({ wire: Buffer.concat(received), ended })
    })
    socket.once("connect", () => {
      if (request.reading !== "half-sent") return void socket.write(all)
      socket.write(all.subarray(0, request.bytes % all.length))
      setTimeout(() => leave("left"), request.bytes % 20)
    })
  })

/** Returns the body, or why it is incomplete. */
const wholeBody = (request: RandomRequest, { wire, ended }: Outcome): Buffer | string => {
  const { status, headers } = parseAnswer(wire.toString("latin1"))
  const body = wire.subarray(wire.indexOf("\r\n\r\n") + 4)
  if (request.method === "HEAD" || status === 204 || status === 304) return body.length === 0 ? body : "a body where none may be"
  const length = headers.get("Content-Length")
  if (headers.get("Transfer-Encoding") === "chunked") {
    try {
      return chunkedBody(wire)
    } catch (error) {
      return String(error)
    }
  }
  if (length !== null) return body.length === Number(length) ? body : `${body.length} of ${length} bytes`
  return ended === "closed" ? body : "neither a length nor chunks"
}

const decoded = (body: Uint8Array<ArrayBuffer>, encoding: string | null): Uint8Array =>
  encoding === "gzip" ? Bun.gunzipSync(body) : encoding === "zstd" ? Bun.zstdDecompressSync(body) : body

/** Checks what HTTP and the contract require of a complete answer. */
const checkAnswer = (request: RandomRequest, outcome: Outcome) => {
  const answer = parseAnswer(outcome.wire.toString("latin1"))
  const body = wholeBody(request, outcome)
  if (typeof body === "string") throw new Error(body)
  const type = answer.headers.get("Content-Type") ?? ""
  if (answer.status >= 400) {
    // Bun itself refuses what is no HTTP.
    if (request.method === "HEAD" || (body.length === 0 && type === "")) return
    expectProblem({ ...answer, body: body.toString() }, answer.status)
  }
  if (request.method === "HEAD") return
  const bytes = decoded(new Uint8Array(body), answer.headers.get("Content-Encoding"))
  if (type.startsWith("application/json")) JSON.parse(Buffer.from(bytes).toString() || "null")
  if (answer.status === 200 && type.includes("charset=utf-8") && bytes.length > 0) {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    if (type.startsWith("text/csv") && !text.endsWith("\n")) throw new Error("the last line of the CSV has no end")
  }
}

const memory = (pid: number, name: "VmRSS" | "VmHWM"): number =>
  Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

test(`${REQUESTS} random requests of ${CLIENTS} clients are answered, and do no damage`, async () => {
  console.log(`RANDOM_REQUESTS=${REQUESTS} RANDOM_CLIENTS=${CLIENTS} RANDOM_SEED=${SEED}`)
  const { url: database, sql } = await thingsDatabase()
  await createGoods(sql)
  await sql.unsafe(relations)
  const env = {
    DATABASE_URL: database,
    EXPORT_DATASETS: "public.*,shop.*",
    RATE_LIMIT_MAX: "10000",
    RATE_LIMIT_WINDOW: "1 second",
    QUEUE_LIMIT: "100000"
  }
  const service = await startService(env)
  const requests = fc.sample(randomRequest, { seed: SEED, numRuns: REQUESTS })
  const ids: Array<string> = []
  const failures: Array<object> = []
  const statuses: Record<string, number> = {}
  let next = 0
  const client = async () => {
    while (next < requests.length) {
      const number = next++
      const json = JSON.stringify(requests[number]).replaceAll(SERVICE_HOST, new URL(service.url).host)
      const request = {
        ...requests[number]!,
        ...(JSON.parse(json.replaceAll(EXPORT_ID, ids[number % ids.length] ?? EXPORT_ID)) as object),
        body: requests[number]!.body
      }
      const outcome = await perform(service, request as RandomRequest)
      const begun = outcome.wire.includes("\r\n\r\n")
      const { status, body } = begun ? parseAnswer(outcome.wire.toString("latin1")) : { status: 0, body: "" }
      const result = begun ? String(status) : outcome.ended
      statuses[result] = (statuses[result] ?? 0) + 1
      const created = /"exportId":"([-0-9a-f]{36})"/.exec(status === 202 ? body : "")?.[1]
      if (created !== undefined) ids.push(created)
      const isComplete = outcome.ended === "closed" && begun
      try {
        if (outcome.ended === "timeout") throw new Error("no answer")
        if (status >= 500) throw new Error(`status ${status}: ${body.slice(0, 500)}`)
        if (isComplete) checkAnswer(request as RandomRequest, outcome)
        else if (outcome.ended === "reset" && status < 400) throw new Error("broken off")
      } catch (error) {
        failures.push({ number, error: String(error).slice(0, 1_500), request: JSON.stringify(request).slice(0, 1_500) })
      }
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  const peak = memory(service.pid, "VmHWM")
  console.log(
    JSON.stringify({ statuses, exports: ids.length, peakMb: Math.round(peak), restMb: Math.round(memory(service.pid, "VmRSS")) })
  )
  expect(failures).toEqual([])
  const unreadable = new Set(["shop.broken", "shop.unfilled"])
  const loud = service
    .log()
    .filter(
      ({ logLevel, annotations }) => !["DEBUG", "INFO"].includes(logLevel) && !unreadable.has(String(annotations["dataset"]))
    )
  expect(loud).toEqual([])
  expect(peak).toBeLessThan(MEGABYTES)
  expect((await fetch(`${service.url}/health`)).status).toBe(200)
  expect(await service.stop()).toBe(0)
})
