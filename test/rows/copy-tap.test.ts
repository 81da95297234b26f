import { expect, test } from "bun:test"
import { PassThrough } from "node:stream"
import type { Socket } from "node:net"
import * as fc from "fast-check"
import { tapCopyData, type CopySink } from "../../src/rows/copy-tap.ts"
import { frameOf } from "./source-fixture.ts"

const rethrow = (cause: unknown) => {
  throw cause
}
const ignoring: CopySink = { append: () => {}, arrived: () => {} }

const payloads = fc.oneof(
  fc.constant(new Uint8Array()),
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ minLength: 300, maxLength: 5000, size: "max" })
)
/** CopyData mostly; CopyOutResponse and CopyDone; CommandComplete, ReadyForQuery, errors, notices, ParameterStatus. */
const types = fc.constantFrom("d", "d", "d", "d", "d", "H", "c", "C", "Z", "E", "N", "S")
const streams = fc.record({
  frames: fc.array(fc.tuple(types, payloads), { maxLength: 30 }),
  /** Bytes of each read, again and again. */
  reads: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 8 })
})

test("rows go to the sink, other messages whole to the listeners, all in order, wherever the reads fall", () => {
  fc.assert(
    fc.property(streams, ({ frames, reads }) => {
      const socket = new PassThrough()
      const tap = tapCopyData(socket as unknown as Socket, rethrow)
      const heard: Array<string> = []
      let rows = Buffer.alloc(0)
      const arrivals: Array<number> = []
      tap.sink = {
        append: (bytes, start, end) => (rows = Buffer.concat([rows, bytes.subarray(start, end)])),
        arrived: (begun) => arrivals.push(begun)
      }
      socket.on("data", (bytes: Buffer) => heard.push(`${rows.length}: ${bytes.toString("hex")}`))
      const sent = Buffer.concat(frames.map(([type, payload]) => frameOf(type, payload)))
      const expectedArrivals: Array<number> = []
      for (let at = 0, turn = 0; at < sent.length; turn++) {
        const read = Buffer.from(sent.subarray(at, at + reads[turn % reads.length]!))
        at += read.length
        expect(socket.emit("data", read)).toBe(true)
        // Nobody may look at it after the read.
        read.fill(0xa5)
        let begun = 0
        let headerEnd = 5
        for (const [type, payload] of frames) {
          if (type === "d" && headerEnd <= at) begun++
          headerEnd += 5 + payload.length
        }
        expectedArrivals.push(begun)
      }
      let taken = Buffer.alloc(0)
      const expected: Array<string> = []
      for (const [type, payload] of frames) {
        if (type === "d") taken = Buffer.concat([taken, payload])
        else if (type !== "H" && type !== "c") expected.push(`${taken.length}: ${frameOf(type, payload).toString("hex")}`)
      }
      expect(rows.equals(taken)).toBe(true)
      expect(tap.rows).toBe(frames.filter(([type]) => type === "d").length)
      expect(heard).toEqual(expected)
      expect(arrivals).toEqual(expectedArrivals)
    }),
    { numRuns: 300 }
  )
})

test("a row larger than any memory is handed on as it comes", () => {
  const socket = new PassThrough()
  const tap = tapCopyData(socket as unknown as Socket, rethrow)
  let bytes = 0
  tap.sink = { ...ignoring, append: (_, start, end) => (bytes += end - start) }
  // The longest that the protocol knows.
  socket.emit("data", Buffer.from("d\x7f\xff\xff\xff", "latin1"))
  for (let read = 1; read <= 100; read++) {
    socket.emit("data", Buffer.alloc(1000))
    expect(bytes).toBe(read * 1000)
  }
  expect(tap.rows).toBe(1)
})

test("rows that nobody reads are dropped, and the other messages come", () => {
  const socket = new PassThrough()
  const tap = tapCopyData(socket as unknown as Socket, rethrow)
  const heard: Array<Buffer> = []
  socket.on("data", (bytes: Buffer) => heard.push(bytes))
  socket.emit("data", Buffer.concat([frameOf("d", Buffer.of(1, 2)), frameOf("Z", Buffer.of(3))]))
  expect(heard).toEqual([frameOf("Z", Buffer.of(3))])
  expect(tap.rows).toBe(1)
})

test.each(["append", "arrived"])("what a sink's %s throws is told to the owner, and not thrown into the socket", (method) => {
  const socket = new PassThrough()
  const told: Array<unknown> = []
  const failure = new Error("no room")
  const tap = tapCopyData(socket as unknown as Socket, (cause) => void told.push(cause))
  tap.sink = {
    ...ignoring,
    [method]: () => {
      throw failure
    }
  }
  expect(socket.emit("data", frameOf("d", Buffer.of(1)))).toBe(true)
  expect(told).toEqual([failure])
})
