/** HTTP requests as written, which `fetch` would correct or refuse, and the error documents they get. */
import { connect, type Socket } from "node:net"
import { STATUS_CODES } from "node:http"
import { expect } from "bun:test"
import { problemTypes, problemUrn } from "../../src/http/problem.ts"
import type { ProblemDocument } from "./client.ts"

export interface RawRequest {
  readonly method?: string
  /** What stands between the method and the version. */
  readonly target: string
  readonly version?: "1.0" | "1.1"
  /** `Host`, and `Content-Type: application/json` of a body, are added unless they are here. An undefined one is left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly body?: string | Uint8Array
  /** Sends the body in chunks, without its length. */
  readonly chunked?: boolean
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

/** Writes a request to a service as bytes. */
export const requestBytes = (url: string, request: RawRequest): Buffer => {
  const { host } = new URL(url)
  const { method = "GET", target, version = "1.1", headers = {}, body = "", chunked = false } = request
  const bytes = Buffer.from(body)
  const framing = chunked ? { "Transfer-Encoding": "chunked" } : bytes.length > 0 && { "Content-Length": String(bytes.length) }
  const json = bytes.length > 0 && { "Content-Type": "application/json" }
  const lines = Object.entries({ Host: host, Connection: "close", ...framing, ...json, ...headers })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`${method} ${target} HTTP/${version}\r\n${lines.join("")}\r\n`, "latin1")
  const last = bytes.length > 0 ? "\r\n0\r\n\r\n" : "\r\n"
  const frames = chunked ? [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from(last)] : [bytes]
  return Buffer.concat([head, ...frames])
}

/** Sends one request over a connection of its own and reads until the server closes it. */
export const send = async (url: string, request: RawRequest): Promise<RawAnswer> =>
  parseAnswer((await exchange(url, requestBytes(url, request))).toString())

/** Sends bytes over a connection of its own, and returns what comes until the server closes. `onData` gets each piece. */
export const exchange = async (
  url: string,
  bytes: Uint8Array | string,
  onData: (socket: Socket, data: Buffer) => void = () => {}
) => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const received: Array<Buffer> = []
  socket.on("data", (data: Buffer) => {
    received.push(data)
    onData(socket, data)
  })
  // The server may answer and close before it has read the body.
  socket.on("error", () => {})
  socket.write(bytes)
  await new Promise((resolve) => socket.once("close", resolve))
  return Buffer.concat(received)
}

/** The parts of an answer as it came over the wire. */
export const parseAnswer = (text: string): RawAnswer => {
  const [head = "", ...rest] = text.split("\r\n\r\n")
  const [statusLine = "", ...lines] = head.split("\r\n")
  const headers = new Headers(
    lines.map((line): [string, string] => [line.split(":")[0]!, line.slice(line.indexOf(":") + 1).trim()])
  )
  return { status: Number(statusLine.split(" ")[1]), headers, body: rest.join("\r\n\r\n") }
}

const kinds = new Map(problemTypes.map((kind) => [problemUrn(kind), kind]))

/** Expects a complete problem document (RFC 9457, with the members of the contract) and returns it. */
export const expectProblem = (answer: RawAnswer, status: number, type?: string): ProblemDocument => {
  expect(answer.status).toBe(status)
  expect(answer.headers.get("Content-Type")).toBe("application/problem+json")
  const problem = JSON.parse(answer.body) as ProblemDocument
  expect({ type: problem.type, status: kinds.get(problem.type)?.status }).toEqual({ type: problem.type, status })
  expect(problem).toEqual({
    type: type === undefined ? problem.type : `urn:sluice:problem:${type}`,
    title: STATUS_CODES[status]!,
    status,
    detail: expect.stringMatching(/./),
    instance: expect.stringMatching(/^\//),
    errors: expect.any(Array),
    error: expect.stringMatching(/./)
  })
  for (const entry of problem.errors) expect(entry).toEqual({ field: expect.any(String), detail: expect.stringMatching(/./) })
  const fields = problem.errors.map(({ field }) => field)
  expect(fields).toEqual([...new Set(fields)])
  return problem
}

/** Returns the body of a complete chunked answer (RFC 9112 §7.1). */
export const chunkedBody = (wire: Buffer): Buffer => {
  const pieces: Array<Buffer> = []
  for (let at = wire.indexOf("\r\n\r\n") + 4; ;) {
    const line = wire.indexOf("\r\n", at)
    if (line === -1) throw new Error("the body is incomplete")
    const size = Number.parseInt(wire.toString("latin1", at, line), 16)
    if (size === 0) return Buffer.concat(pieces)
    pieces.push(wire.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
