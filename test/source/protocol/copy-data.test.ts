import { expect, test } from "bun:test"
import { PassThrough } from "node:stream"
import type { Socket } from "node:net"
import * as fc from "fast-check"
import { decodeCopyData, type CopySink } from "../../../src/source/protocol/copy-data.ts"
import { frameOf } from "./protocol-messages.ts"

const rethrow = (cause: unknown) => {
  throw cause
}
const ignoring: CopySink = { crlf: false, append: () => {}, arrived: () => {} }

const payloads = fc.oneof(
  fc.constant(new Uint8Array()),
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ minLength: 300, maxLength: 5000, size: "max" })
)
/** CopyData mostly; CommandComplete, ReadyForQuery, errors, notices, ParameterStatus. */
const types = fc.constantFrom("d", "d", "d", "d", "d", "C", "Z", "E", "N", "S")
const frames = fc.array(fc.tuple(types, payloads), { maxLength: 15 })
const streams = fc.record({
  /** The messages of each COPY, and those before it; both are of any kind. */
  copies: fc.array(frames, { maxLength: 4 }),
  before: frames,
  /** The sizes of reads, used in turn. */
  reads: fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 8 })
})

test("rows go to the sink of their COPY, other complete messages to the listeners, all in order, wherever reads split them", () => {
  fc.assert(
    fc.property(streams, ({ before, copies, reads }) => {
      const socket = new PassThrough()
      const expectCopy = decodeCopyData(socket as unknown as Socket, rethrow)
      const heard: Array<string> = []
      const rows = copies.map(() => Buffer.alloc(0))
      const arrived = copies.map(() => -1)
      const bytesOfRows = () => rows.reduce((sum, { length }) => sum + length, 0)
      // All of them are sent before the first answer arrives.
      const begun = copies.map((_, number) =>
        expectCopy({
          crlf: false,
          append: (bytes, start, end) => (rows[number] = Buffer.concat([rows[number]!, bytes.subarray(start, end)])),
          arrived: (count) => (arrived[number] = count)
        })
      )
      socket.on("data", (bytes: Buffer) => heard.push(`${bytesOfRows()}: ${bytes.toString("hex")}`))

      const messages = [before, ...copies].flatMap((some, at) => {
        const inside = some.map(([type, payload]) => ({ type, frame: frameOf(type, payload), payload, number: at - 1 }))
        const around = (type: string) => ({ type, frame: frameOf(type), payload: Buffer.alloc(0), number: at - 1 })
        return at === 0 ? inside.filter(({ type }) => type !== "d") : [around("H"), ...inside, around("c")]
      })
      const bytes = Buffer.concat(messages.map(({ frame }) => frame))
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const read = Buffer.from(bytes.subarray(at, at + reads[turn % reads.length]!))
        at += read.length
        expect(socket.emit("data", read)).toBe(true)
        // Nobody may use the buffer after the read.
        read.fill(0xa5)
        const expected = copies.map(() => -1)
        let end = 0
        for (const { type, frame, number } of messages) {
          end += frame.length
          if (type === "H" && end <= at) expected[number] = 0
          if (type === "d" && end - frame.length + 5 <= at) expected[number]!++
        }
        expect(arrived).toEqual(expected)
      }
      let taken = 0
      const expected: Array<string> = []
      for (const { type, frame, payload } of messages) {
        if (type === "d") taken += payload.length
        else if (type !== "H" && type !== "c") expected.push(`${taken}: ${frame.toString("hex")}`)
      }
      expect(heard).toEqual(expected)
      for (const [number, some] of copies.entries()) {
        const payloadsOf = some.filter(([type]) => type === "d").map(([, payload]) => payload)
        expect(rows[number]!.equals(Buffer.concat(payloadsOf))).toBe(true)
        expect(begun[number]!.rows).toBe(payloadsOf.length)
      }
    }),
    { numRuns: 300 }
  )
})

test("a row that is larger than memory is emitted as it arrives", () => {
  const socket = new PassThrough()
  let bytes = 0
  const copy = decodeCopyData(
    socket as unknown as Socket,
    rethrow
  )({
    ...ignoring,
    append: (_, start, end) => (bytes += end - start)
  })
  socket.emit("data", frameOf("H"))
  // The longest message of the protocol.
  socket.emit("data", Buffer.from("d\x7f\xff\xff\xff", "latin1"))
  for (let read = 1; read <= 100; read++) {
    socket.emit("data", Buffer.alloc(1000))
    expect(bytes).toBe(read * 1000)
  }
  expect(copy.rows).toBe(1)
})

test("rows that nobody reads are dropped, and the other messages arrive", () => {
  const socket = new PassThrough()
  decodeCopyData(socket as unknown as Socket, rethrow)
  const heard: Array<Buffer> = []
  socket.on("data", (bytes: Buffer) => heard.push(bytes))
  socket.emit("data", Buffer.concat([frameOf("d", Buffer.of(1, 2)), frameOf("Z", Buffer.of(3))]))
  expect(heard).toEqual([frameOf("Z", Buffer.of(3))])
})

test.each(["append", "arrived"])("an error of `%s` of a sink goes to its owner, and is not thrown into the socket", (method) => {
  const socket = new PassThrough()
  const told: Array<unknown> = []
  const failure = new Error("no room")
  decodeCopyData(
    socket as unknown as Socket,
    (cause) => void told.push(cause)
  )({
    ...ignoring,
    [method]: () => {
      throw failure
    }
  })
  expect(socket.emit("data", Buffer.concat([frameOf("H"), frameOf("d", Buffer.of(1))]))).toBe(true)
  expect(told).toEqual([failure])
})
