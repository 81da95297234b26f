import { expect, test } from "bun:test"
import { PassThrough } from "node:stream"
import type { Socket } from "node:net"
import * as fc from "fast-check"
import { messageLengths, decodeDataRows, type OnRow } from "../../../src/source/protocol/data-row.ts"
import { frameOf } from "./protocol-messages.ts"

const payloads = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 300, maxLength: 2000, size: "max" }))
const rethrow = (cause: unknown) => {
  throw cause
}
const streams = fc.record({
  frames: fc.array(fc.tuple(fc.constantFrom("D", "D", "D", "s", "C", "Z", "E"), payloads), { maxLength: 30 }),
  /** The sizes of reads, used in turn. */
  reads: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 8 })
})

test("rows and other messages are complete and in order, wherever reads split them", () => {
  fc.assert(
    fc.property(streams, ({ frames, reads }) => {
      const socket = new PassThrough()
      const seen: Array<string> = []
      let others = Buffer.alloc(0)
      const onRow: OnRow = (bytes, start, end) => void seen.push(`${others.length}: ${bytes.toString("hex", start, end)}`)
      decodeDataRows(socket as unknown as Socket, onRow, rethrow)
      socket.on("data", (bytes: Buffer) => (others = Buffer.concat([others, bytes])))
      const sent = Buffer.concat(frames.map(([type, payload]) => frameOf(type, payload)))
      for (let at = 0, turn = 0; at < sent.length; turn++) {
        const size = reads[turn % reads.length]!
        const read = Buffer.from(sent.subarray(at, at + size))
        socket.emit("data", read)
        // Nobody may use the buffer after the read.
        read.fill(0xa5)
        at += size
      }
      const expected: Array<string> = []
      let passed = Buffer.alloc(0)
      for (const [type, payload] of frames) {
        if (type === "D") expected.push(`${passed.length}: ${Buffer.from(payload).toString("hex")}`)
        else passed = Buffer.concat([passed, frameOf(type, payload)])
      }
      expect(seen).toEqual(expected)
      expect(others.equals(passed)).toBe(true)
    }),
    { numRuns: 300 }
  )
})

test("other events, and the answer of a listener, are those of the socket", () => {
  const socket = new PassThrough()
  decodeDataRows(socket as unknown as Socket, () => {}, rethrow)
  const heard: Array<unknown> = []
  socket.on("close", (...values: Array<unknown>) => heard.push(values))
  expect(socket.emit("close", false)).toBe(true)
  expect(socket.emit("unheard")).toBe(false)
  expect(heard).toEqual([[false]])
})

test("an error of the receiver of rows goes to its owner, and is not thrown into the socket", () => {
  const socket = new PassThrough()
  const told: Array<unknown> = []
  const failure = new Error("no room")
  const fail = () => {
    throw failure
  }
  decodeDataRows(socket as unknown as Socket, fail, (cause) => void told.push(cause))
  expect(socket.emit("data", frameOf("D", Buffer.of(1)))).toBe(true)
  expect(told).toEqual([failure])
})

test("the length of each message is known with its header, wherever reads split it", () => {
  fc.assert(
    fc.property(streams, ({ frames, reads }) => {
      const messages = frames.map(([type, payload]) => frameOf(type, payload))
      const sent = Buffer.concat(messages)
      let read = 0
      const seen: Array<readonly [length: number, read: number]> = []
      const take = messageLengths((length) => void seen.push([length, read]))
      for (let turn = 0; read < sent.length; turn++) {
        const from = read
        read = Math.min(sent.length, from + reads[turn % reads.length]!)
        take(sent.subarray(from, read))
      }
      expect(seen.map(([length]) => length)).toEqual(messages.map(({ length }) => length))
      let start = 0
      for (const [nth, { length }] of messages.entries()) {
        // It is known at the latest with the read that has the fifth byte.
        const longest = Math.max(...reads)
        expect(seen[nth]![1]).toBeLessThan(start + 5 + longest)
        start += length
      }
    })
  )
})
