/** Ranges of a key, as pure functions. e2e/parts.test.ts reads a table by them. */
import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import { splitPointsOf, keyParts, orderedKey } from "../../../src/read/plan/key-ranges.ts"
import { specOf, usersDataset } from "../../support/datasets.ts"

const int8 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const histograms = fc
  .uniqueArray(int8, { minLength: 2, maxLength: 101 })
  .map((splitPoints) => splitPoints.toSorted((a, b) => (a < b ? -1 : 1)))

describe("the split points of ranges", () => {
  test("ascend, lie within the histogram, and are as many as asked for if it has so many values", () => {
    fc.assert(
      fc.property(histograms, fc.integer({ min: 1, max: 2_000 }), (histogram, count) => {
        const splitPoints = splitPointsOf(histogram, count)
        for (const [at, bound] of splitPoints.entries()) {
          expect(at === 0 || bound > splitPoints[at - 1]!).toBe(true)
          expect(bound >= histogram[0]! && bound <= histogram.at(-1)!).toBe(true)
        }
        expect(splitPoints.length).toBeLessThan(count)
      })
    )
  })

  test("split a histogram into equal shares, even a skewed one", () => {
    expect(splitPointsOf([0n, 100n], 4)).toEqual([25n, 50n, 75n])
    expect(splitPointsOf([0n, 10n, 1_000_000n], 4)).toEqual([5n, 10n, 500_005n])
    expect(splitPointsOf([1n, 2n], 1_000)).toEqual([1n])
    expect(splitPointsOf([5n], 10)).toEqual([])
    expect(splitPointsOf([], 10)).toEqual([])
  })
})

test("the parts follow each other from one open end to the other, ascending or descending", () => {
  fc.assert(
    fc.property(histograms, fc.boolean(), (splitPoints, descending) => {
      const parts = [
        ...keyParts({ kind: "keys", schema: "s", table: "t", oid: "1", root: "1", column: "id", descending, splitPoints })
      ]
      const ranges = (descending ? parts.toReversed() : parts).filter((part) => part.kind === "keys")
      expect(ranges.map(({ from }) => from)).toEqual([undefined, ...splitPoints])
      expect(ranges.map(({ to }) => to)).toEqual([...splitPoints, undefined])
    })
  )
})

describe("a key that gives the order", () => {
  const uuids = new Map(usersDataset.columns).set("id", { ...usersDataset.columns.get("id")!, base: "uuid" })
  test.each([
    ["id", usersDataset, "id"],
    ["-id", usersDataset, "id"],
    ["id,name", usersDataset, undefined],
    ["name", usersDataset, undefined],
    ["id", { ...usersDataset, key: ["id", "name"] }, undefined],
    ["id", { ...usersDataset, key: [] }, undefined],
    ["id", { ...usersDataset, columns: uuids }, undefined]
  ] as const)("order_by=%s", (order_by, dataset, column) => {
    expect(orderedKey(specOf({ order_by }, dataset), dataset)).toBe(column)
    expect(orderedKey(specOf({}, dataset), dataset)).toBeUndefined()
  })
})
