import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import { parseRange, type ByteRange } from "../../../src/http/response/ranges.ts"

/** The definition: a range is the positions that it picks from the list of all positions of the file. */
const positions = (size: number) => Array.from({ length: size }, (_, position) => position)
const picked = (size: number, first: bigint | undefined, last: bigint | undefined): ReadonlyArray<number> => {
  if (first === undefined) return last === 0n ? [] : positions(size).slice(-Number(last))
  return positions(size).filter((position) => position >= first && (last === undefined || position <= last))
}
const asRange = (list: ReadonlyArray<number>): ByteRange | "unsatisfiable" =>
  list.length === 0 ? "unsatisfiable" : { start: list[0]!, end: list[list.length - 1]! }

const size = fc.integer({ min: 1, max: 300 })
/** Positions near the end of such files, far beyond it, and beyond what a double can represent. */
const position = fc.oneof(
  { weight: 6, arbitrary: fc.bigInt({ min: 0n, max: 400n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 31n, max: 2n ** 50n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 10n ** 16n, max: 10n ** 30n }) }
)
const zeros = fc.constantFrom("", "", "0", "000")

describe("one range of bytes is a slice of the file", () => {
  test("written as first-last", () => {
    fc.assert(
      fc.property(size, position, position, zeros, (bytes, a, b, pad) => {
        const [first, last] = a <= b ? [a, b] : [b, a]
        expect(parseRange(`bytes=${pad}${first}-${pad}${last}`, bytes)).toEqual(asRange(picked(bytes, first, last)))
      })
    )
  })
  test("written as first-", () => {
    fc.assert(
      fc.property(size, position, zeros, (bytes, first, pad) => {
        expect(parseRange(`bytes=${pad}${first}-`, bytes)).toEqual(asRange(picked(bytes, first, undefined)))
      })
    )
  })
  test("written as -suffix", () => {
    fc.assert(
      fc.property(size, position, zeros, (bytes, suffix, pad) => {
        expect(parseRange(`bytes=-${pad}${suffix}`, bytes)).toEqual(asRange(picked(bytes, undefined, suffix)))
      })
    )
  })
  test("unless its last position is before its first: that makes the header invalid", () => {
    fc.assert(
      fc.property(size, fc.bigInt({ min: 1n, max: 400n }), fc.bigInt({ min: 1n, max: 400n }), (bytes, last, more) => {
        expect(parseRange(`bytes=${last + more}-${last}`, bytes)).toBeUndefined()
      })
    )
  })
})

test("a header with several ranges is ignored", () => {
  const spec = fc.oneof(
    fc.tuple(fc.nat(400), fc.nat(400)).map(([first, more]) => `${first}-${first + more}`),
    fc.nat(400).map((first) => `${first}-`),
    fc.nat(400).map((suffix) => `-${suffix}`)
  )
  fc.assert(
    fc.property(
      size,
      fc.array(spec, { minLength: 2, maxLength: 9 }),
      fc.constantFrom(",", ", ", " ,\t"),
      (bytes, specs, comma) => {
        expect(parseRange(`bytes=${specs.join(comma)}`, bytes)).toBeUndefined()
      }
    )
  )
})

test("no header, valid or not, gives positions outside the file", () => {
  const almost = fc
    .array(fc.constantFrom("bytes", "=", "-", "0", "9", "41", ",", " ", "\t", "e", ".", "+", "x"), { maxLength: 12 })
    .map((parts) => parts.join(""))
  fc.assert(
    fc.property(fc.oneof(fc.string(), almost), fc.nat(60), (header, bytes) => {
      const range = parseRange(header, bytes)
      if (range === undefined || range === "unsatisfiable") return
      expect(range.start).toBeGreaterThanOrEqual(0)
      expect(range.start).toBeLessThanOrEqual(range.end)
      expect(range.end).toBeLessThan(bytes)
    }),
    { numRuns: 2_000 }
  )
})

describe("RFC 9110 §14.1.2 on a file of 10000 bytes", () => {
  const cases: ReadonlyArray<[string, ByteRange | "unsatisfiable" | undefined]> = [
    // The examples of the RFC.
    ["bytes=0-499", { start: 0, end: 499 }],
    ["bytes=500-999", { start: 500, end: 999 }],
    ["bytes=-500", { start: 9500, end: 9999 }],
    ["bytes=9500-", { start: 9500, end: 9999 }],
    ["bytes=0-0,-1", undefined],
    ["bytes= 0-999, 4500-5499, -1000", undefined],
    ["bytes=500-600,601-999", undefined],
    // Edges.
    ["bytes=0-0", { start: 0, end: 0 }],
    ["bytes=9999-9999", { start: 9999, end: 9999 }],
    ["bytes=-1", { start: 9999, end: 9999 }],
    ["bytes=-10000", { start: 0, end: 9999 }],
    ["bytes=0-", { start: 0, end: 9999 }],
    ["bytes=0-10000", { start: 0, end: 9999 }],
    ["bytes=-10001", { start: 0, end: 9999 }],
    ["bytes=0-99999999999999999999", { start: 0, end: 9999 }],
    ["bytes=-99999999999999999999", { start: 0, end: 9999 }],
    ["bytes=10000-", "unsatisfiable"],
    ["bytes=10000-10000", "unsatisfiable"],
    ["bytes=99999999999999999999-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    // §14.1: names of units are case-insensitive; unknown ones are ignored.
    ["BYTES=0-499", { start: 0, end: 499 }],
    ["  bytes=0-499  ", { start: 0, end: 499 }],
    ["rows=0-499", undefined],
    ["bytes", undefined],
    ["bytes=", undefined],
    ["bytes=-", undefined],
    ["bytes=5", undefined],
    ["bytes=1-0", undefined],
    ["bytes=--1", undefined],
    ["bytes=-1-2", undefined],
    ["bytes=1-2-3", undefined],
    ["bytes=0x10-0x20", undefined],
    ["bytes=1.5-2", undefined],
    ["bytes=+1-2", undefined],
    ["bytes=1e3-", undefined],
    ["bytes=a-b", undefined],
    ["bytes=٠-٩", undefined],
    ["bytes 0-499", undefined],
    ["0-499", undefined],
    ["", undefined]
  ]
  test.each(cases)("%p", (header, expected) => {
    expect(parseRange(header, 10_000)).toEqual(expected)
  })
})

test("no range of an empty file is satisfiable", () => {
  for (const header of ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"]) expect(parseRange(header, 0)).toBe("unsatisfiable")
})
