import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { connect, type Socket } from "node:net"
import { join } from "node:path"
import { Effect, Logger, LogLevel } from "effect"
import { Hono, type Context } from "hono"
import type { RequestEnv } from "../../../src/http/request-env.ts"
import { streamBody } from "../../../src/http/response/streaming-body.ts"
import { openClientSockets } from "../../../src/http/connections/client-sockets.ts"
import { limitConnections, type ConnectionLimits } from "../../../src/http/connections/client-connections.ts"
import { exchange } from "../../support/raw-http.ts"
import { temporaryDirectory } from "../../support/shared-service.ts"
import { slowClient } from "../../support/slow-client.ts"
import { until } from "../../support/until.ts"

setDefaultTimeout(20_000)

const quiet = Logger.withMinimumLogLevel(LogLevel.Error)
const LARGE = 64 * 1024 * 1024
const file = join(await temporaryDirectory(), "file")
await Bun.write(file, new Uint8Array(LARGE))

const limits: ConnectionLimits = {
  requestHeadMs: 60_000,
  clientIdleMs: 60_000,
  clientStallMs: 60_000,
  connections: 1_000,
  connectionSweepMs: 20,
  idleSeconds: 60
}
const stops: Array<() => Promise<void>> = []
afterAll(async () => {
  for (const stop of stops) await stop()
})

const streamOf = async (context: Context<{ Bindings: RequestEnv }>, next: () => Promise<Uint8Array | undefined>) =>
  new Response(
    await Effect.runPromise(
      streamBody(Effect.succeed({ next }), String, { request: { env: context.env, signal: context.req.raw.signal } }).pipe(quiet)
    )
  )

/** A server whose answers are a stream without an end, a large file, a word, or a word that waits for `release`. */
const startServer = async ({
  idleTimeout = 60,
  watched = true,
  ...own
}: Partial<ConnectionLimits> & { idleTimeout?: number; watched?: boolean }) => {
  const warnings: Array<string> = []
  const connections = limitConnections({ ...limits, ...own }, (message) => warnings.push(message))
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  let pulls = 0
  const app = new Hono<{ Bindings: RequestEnv }>()
  app.get("/stream", (context) => streamOf(context, async () => (pulls++, new Uint8Array(65_536))))
  app.get("/short", (context) => {
    const chunks = [Buffer.from("short"), undefined]
    return streamOf(context, async () => chunks.shift())
  })
  app.get("/file", () => new Response(Bun.file(file).slice(0, LARGE), { headers: { "Content-Length": String(LARGE) } }))
  app.get("/word", () => new Response("word"))
  app.get("/wait", () => released.then(() => new Response("word")))
  const bodies = new Set<() => Promise<void>>()
  const server: Bun.Server<undefined> = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout,
    fetch: (request, bun) =>
      connections.serve(request, bun, (connection) =>
        app.fetch(request, { address: connection.address, connection, bodies } satisfies RequestEnv)
      )
  })
  let sweeps = 0
  if (watched) {
    const sockets = openClientSockets(server.port ?? 0)
    connections.watch({ ...sockets, all: () => (sweeps++, sockets.all()) })
  }
  stops.push(() => (connections.stop(), server.stop(true)))
  return { port: server.port ?? 0, url: server.url.href, warnings, release, pulls: () => pulls, sweeps: () => sweeps }
}

const request = (path: string, version = "1.1") => `GET ${path} HTTP/${version}\r\nHost: localhost\r\n\r\n`

interface Client {
  readonly socket: Socket
  readonly received: () => string
  /** What ended the connection: "end", or the code of an error. */
  readonly ended: Promise<string>
  readonly isOpen: () => boolean
  /** Ends the stall. */
  readonly go: () => void
}
const open = (port: number, text = "", stall = false): Client => {
  const socket = connect(port, "127.0.0.1")
  const received: Array<Buffer> = []
  let isOpen = true
  let stalls = stall
  const { promise: ended, resolve } = Promise.withResolvers<string>()
  socket.on("data", (data: Buffer) => {
    received.push(data)
    if (stalls) socket.pause()
  })
  socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "error"))
  socket.once("close", () => {
    isOpen = false
    resolve("end")
  })
  socket.write(text)
  return {
    socket,
    received: () => Buffer.concat(received).toString("latin1"),
    ended,
    isOpen: () => isOpen,
    go: () => ((stalls = false), socket.resume())
  }
}

describe.each(["/stream", "/file"])("a client of a %s", (path) => {
  test.concurrent("that takes nothing for `clientStallMs` has its connection reset", async () => {
    const { port, warnings } = await startServer({ clientStallMs: 300 })
    const client = open(port, request(path, "1.0"), true)
    await until("the connection to be aborted", () => warnings.length > 0)
    client.go()
    expect(await client.ended).toBe("ECONNRESET")
    expect(warnings).toEqual(["connection aborted: its client took no byte for 0.3 s"])
  })
  test.concurrent("that takes a little all the time keeps its connection, however long nothing new fits into the buffers", async () => {
    const { port, warnings, pulls } = await startServer({ clientStallMs: 1_000, clientIdleMs: 1_000, requestHeadMs: 1_000 })
    const client = slowClient(port, request(path))
    let taken = 0
    let [filled, filledAt] = [pulls(), performance.now()]
    await until("three times the limit to pass with nothing new in the buffers", () => {
      taken += Math.max(0, client.take(2_048))
      if (pulls() !== filled) [filled, filledAt] = [pulls(), performance.now()]
      return performance.now() - filledAt > 3_000
    })
    expect(warnings).toEqual([])
    expect(client.take(1)).toBe(1)
    expect(taken).toBeWithin(20_000, 2_000_000)
    client.close()
  })
})

test.concurrent("a stalled stream is aborted by a timer where the kernel cannot be asked about sockets", async () => {
  const { port, warnings } = await startServer({ clientStallMs: 300, watched: false })
  const client = open(port, request("/stream"), true)
  await until("the connection to be aborted", () => warnings.length > 0)
  client.go()
  await client.ended
  expect(client.received()).not.toEndWith("\r\n0\r\n\r\n")
})

describe("a connection is closed", () => {
  test.concurrent("when its first request is not complete in time, even while bytes of it arrive", async () => {
    const { port } = await startServer({ requestHeadMs: 200 })
    const [silent, trickling] = [open(port), open(port, "GET /word HTTP/1.1\r\n")]
    const trickle = setInterval(() => trickling.socket.write("X: y\r\n"), 10)
    expect(await silent.ended).toBe("end")
    await trickling.ended
    clearInterval(trickle)
    expect(trickling.received()).toBe("")
  })
  test.concurrent("when no request follows an answer in time", async () => {
    const { port } = await startServer({ clientIdleMs: 200 })
    const [client, fresh] = [open(port, request("/word")), open(port)]
    expect(await client.ended).toBe("end")
    expect(client.received()).toEndWith("\r\n\r\nword")
    expect(fresh.isOpen()).toBe(true)
    fresh.socket.destroy()
  })
  test.concurrent("only after its request is served, whatever the setting of Bun's idle timer", async () => {
    const { port, release } = await startServer({ idleSeconds: 1, idleTimeout: 1, watched: false })
    const [working, other] = [open(port, request("/wait")), open(port, request("/word"))]
    await other.ended
    release()
    await until("the answer", () => working.received().endsWith("\r\n\r\nword"))
    working.socket.destroy()
  })
})

test.concurrent("of too many connections those that have been quiet longest are closed, and none whose request is worked on", async () => {
  const { port, url, release, warnings, sweeps } = await startServer({ connections: 20, connectionSweepMs: 200 })
  const working = Array.from({ length: 5 }, () => open(port, request("/wait")))
  const early = Array.from({ length: 10 }, () => open(port))
  await until("the first connections to be seen", async () => (await fetch(`${url}word`)).ok)
  const before = sweeps()
  await until("a sweep of the connections", () => sweeps() > before)
  const late = Array.from({ length: 10 }, () => open(port))
  await until("some connections to be closed", () => early.some(({ isOpen }) => !isOpen()))
  expect(late.filter(({ isOpen }) => isOpen()).length).toBe(10)
  expect(early.filter(({ isOpen }) => isOpen()).length).toBeWithin(3, 6)
  expect(warnings[0]).toMatch(/^too many connections: 2\d, and the limit is 20/)
  release()
  for (const client of working) await until("the answer", () => client.received().endsWith("word"))
  for (const { socket } of [...working, ...early, ...late]) socket.destroy()
})

test.concurrent("a connection serves the next request after a streamed body", async () => {
  const { url } = await startServer({})
  let answers = 0
  const wire = await exchange(url, request("/short"), (socket, data) => {
    if (!data.includes("\r\n0\r\n\r\n") && !data.includes("0\r\n\r\n")) return
    answers++
    socket.write(answers === 3 ? request("/word").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n") : request("/short"))
  })
  expect(answers).toBe(3)
  expect(wire.toString("latin1")).toEndWith("\r\n\r\nword")
})
