/** batchSocketReads on real sockets. */
import { expect, setDefaultTimeout, spyOn, test } from "bun:test"
import { once } from "node:events"
import net from "node:net"
import { PassThrough } from "node:stream"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { batchSocketReads } from "../../src/source/socket-batching.ts"
import { until } from "../support/until.ts"
import { inTime } from "../read/reading.fixture.ts"

setDefaultTimeout(60_000)

/** A client that reads directly, and the server's end of its connection. */
const connected = async () => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const accepted = once(server, "connection")
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
  const [[peer]] = (await Promise.all([accepted, once(client, "connect")])) as [[net.Socket], unknown]
  client.on("error", () => {})
  peer.on("error", () => {})
  const taken: Array<Buffer> = []
  const memories = new Set<ArrayBufferLike>()
  // Before, as the taps are: what they get is lent.
  client.on("data", (bytes: Buffer) => {
    memories.add(bytes.buffer)
    taken.push(Buffer.from(bytes))
  })
  const flow = batchSocketReads(client)
  const closed = new Promise<void>((resolve) => client.on("close", () => resolve()))
  const bytes = () => taken.reduce((sum, { length }) => sum + length, 0)
  return {
    client,
    peer,
    flow,
    closed,
    bytes,
    memories,
    events: () => taken.length,
    all: () => Buffer.concat(taken),
    come: (count: number) => until(`${count} bytes to come`, () => bytes() >= count),
    [Symbol.dispose]: () => {
      client.destroy()
      peer.destroy()
      server.close()
    }
  }
}

/** Bytes that do not repeat soon. */
const noise = (length: number) =>
  Buffer.from(Uint32Array.from({ length: Math.ceil(length / 4) }, (_, at) => at * 2654435761).buffer)

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test("all bytes arrive in order, with any pieces and pauses, and none while the socket is paused", async () => {
  const steps = fc.array(
    fc.record({
      bytes: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 900_000 })),
      paused: fc.boolean(),
      turns: fc.nat(20)
    }),
    { minLength: 1, maxLength: 12 }
  )
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      using socket = await connected()
      const sent = noise(script.reduce((sum, { bytes }) => sum + bytes, 0))
      let at = 0
      for (const step of script) {
        if (step.paused) socket.flow.pause()
        const before = socket.bytes()
        socket.peer.write(sent.subarray(at, (at += step.bytes)))
        await turns(step.turns)
        if (step.paused) expect(socket.bytes()).toBe(before)
        socket.flow.resume()
        await turns(step.turns)
      }
      await socket.come(at)
      expect(socket.all().equals(sent.subarray(0, at))).toBe(true)
    }),
    { numRuns: 40 }
  )
})

test("many bytes arrive in a buffer that is reused, in reads that are larger than those of Bun", async () => {
  using socket = await connected()
  const piece = noise(8192)
  for (let sent = 0; sent < 2000; sent++) {
    socket.peer.write(piece)
    if (sent % 10 === 0) await turns(1)
  }
  await socket.come(2000 * 8192)
  expect(socket.memories.size).toBeLessThan(socket.events())
  expect(socket.events()).toBeLessThan(1000)
})

test("bytes beyond one read are read at once", async () => {
  using socket = await connected()
  const timers = spyOn(globalThis, "setTimeout")
  const bytes = 64 * limits.batchedReadBytes
  socket.peer.write(noise(bytes))
  await socket.come(bytes)
  const rests = timers.mock.calls.filter(([, ms]) => ms === limits.batchedReadMs).length
  timers.mockRestore()
  expect(rests).toBeLessThan(socket.events() / 2)
})

test.each([0, 100, 10_000, 5_000_000])("an end after %d bytes is told when they have come", async (bytes) => {
  using socket = await connected()
  const sent = noise(bytes)
  socket.peer.end(sent)
  await inTime(socket.closed)
  expect(socket.all().equals(sent)).toBe(true)
})

test.each(["while it rests", "while it is paused"])("a connection that is reset %s is closed", async (when) => {
  using socket = await connected()
  socket.peer.write(noise(100_000))
  await socket.come(1)
  if (when === "while it is paused") socket.flow.pause()
  socket.peer.resetAndDestroy()
  await inTime(socket.closed)
})

test("a socket that is destroyed in the middle is not read any more, and can still be paused and resumed", async () => {
  using socket = await connected()
  socket.peer.write(noise(2_000_000))
  await socket.come(limits.batchedReadLeastBytes)
  socket.client.destroy()
  const { bytes } = socket
  const before = bytes()
  socket.flow.pause()
  socket.flow.resume()
  await inTime(socket.closed)
  await turns(20)
  expect(bytes()).toBe(before)
})

test("a socket without a descriptor is left as it is", () => {
  const socket = new PassThrough() as unknown as net.Socket
  expect(batchSocketReads(socket)).toBe(socket)
})
