/** Filters as a spec holds them: equal ones alike, and those that were stored before as they were. */
import { describe, expect, test } from "bun:test"
import { Effect, Schema } from "effect"
import * as fc from "fast-check"
import { parseFieldName } from "../../src/datasets/filters/field-name.ts"
import { parseFilterList, type WrittenTree } from "../../src/datasets/filters/filter-tree.ts"
import { ExportSpec, fromStoredSpec, toStoredSpec } from "../../src/exports/export-spec.ts"
import { toExportSpec } from "../../src/exports/parameters.ts"
import { readFilters } from "../../src/exports/filters.ts"
import { usersDataset } from "../support/datasets.ts"

const specOf = (...trees: ReadonlyArray<WrittenTree>): ExportSpec => {
  const { conditions, errors } = readFilters(
    trees.map((tree) => ({ field: "or", tree })),
    usersDataset
  )
  expect(errors).toEqual([])
  return toExportSpec({}, usersDataset, conditions)
}
const leaf = (name: string, text: string): WrittenTree => ({ column: parseFieldName(name), text })
const list = (text: string): ReadonlyArray<WrittenTree> => parseFilterList(text) as ReadonlyArray<WrittenTree>
const group = (operator: "and" | "or", text: string, not = false): WrittenTree => ({ operator, not, filters: list(text) })
const textOf = (...trees: ReadonlyArray<WrittenTree>) => JSON.stringify(specOf(...trees))

test("a spec that was stored before there were groups is read as it was", () => {
  const stored =
    '{"dataset":"users","columns":[{"name":"id","type":"bigint"}],"conditions":[{"column":"country_code","not":false,' +
    '"operator":"in","values":["UK","US"]},{"column":"lifetime_value","not":true,"operator":"gte","values":["99.95"]}],' +
    '"order":[{"column":"id","descending":true}],"total":10,"format":{"type":"csv","encoding":"utf-8","bom":false,"header":"names",' +
    '"delimiter":",","quote":"\\"","quoting":"minimal","null":"","newline":"lf","formulas":"keep","longNumbers":"keep",' +
    '"timezone":"UTC","datetime":"postgres","boolean":"t/f","binary":"hex","decimal":"."}}'
  const spec = Schema.decodeUnknownSync(ExportSpec)(JSON.parse(stored))
  expect(JSON.stringify(spec)).toBe(stored)
  expect(spec.conditions).toEqual(specOf(leaf("country_code", "in.(US,UK)"), leaf("lifetime_value", "not.gte.99.950")).conditions)
})

test("a spec with members that the version before would leave out is one that it refuses", async () => {
  const plain = specOf(leaf("id", "gt.5"))
  expect(toStoredSpec(plain)).toBe(plain)
  const [id, ...columns] = plain.columns
  const specs: ReadonlyArray<ExportSpec> = [
    specOf(leaf("name", "like(any).{A*,B*}")),
    specOf(group("or", "(id.lt.3,name.eq(any).{a,b})")),
    { ...plain, columns: [{ ...id!, path: [{ arrow: "->>", key: "a" }] }, ...columns] },
    { ...plain, order: [{ column: "id", descending: true, nulls: "last" }] }
  ]
  for (const spec of specs) {
    const stored: unknown = JSON.parse(JSON.stringify(toStoredSpec(spec)))
    // That version reads `order`, and fails without it.
    expect(stored).not.toHaveProperty("order")
    expect(await Effect.runPromise(fromStoredSpec(stored))).toEqual(spec)
  }
})

test("a stored spec with a member that is not known is refused", async () => {
  const stored = { ...specOf(), later: true }
  expect((await Effect.runPromiseExit(fromStoredSpec(stored)))._tag).toBe("Failure")
})

test("a spec with groups is stored and read back unchanged", () => {
  const spec = specOf(group("or", "(id.lt.3,not.and(name.like(any).{A*,B*},name.fts(english).cat),email.in.())", true))
  const read = Schema.decodeUnknownSync(ExportSpec)(JSON.parse(JSON.stringify(spec)))
  expect(read).toEqual(spec)
  expect(spec.conditions).toEqual([
    {
      not: true,
      operator: "or",
      conditions: [
        { column: "email", not: false, operator: "in", values: [] },
        { column: "id", not: false, operator: "lt", values: ["3"] },
        {
          not: true,
          operator: "and",
          conditions: [
            { column: "name", not: false, operator: "fts", language: "english", values: ["cat"] },
            { column: "name", not: false, operator: "like", quantifier: "any", values: ["A%", "B%"] }
          ]
        }
      ]
    }
  ])
})

describe("filters that mean the same have equal specs", () => {
  test.each<[ReadonlyArray<WrittenTree>, ReadonlyArray<WrittenTree>]>([
    [[group("and", "(id.gt.1,id.lt.9)")], [leaf("id", "lt.9"), leaf("id", "gt.1")]],
    [[group("or", "(id.gt.1)")], [leaf("id", "gt.1")]],
    [[group("or", "(id.gt.1)", true)], [leaf("id", "not.gt.1")]],
    [[group("or", "(id.eq.1,or(id.eq.2,id.eq.3))")], [group("or", "(id.eq.3,id.eq.2,id.eq.1,id.eq.1)")]],
    [[group("or", "(id.eq.1,and(id.gt.2,and(id.lt.9,name.eq.x)))")], [group("or", "(and(name.eq.x,id.lt.9,id.gt.2),id.eq.1)")]],
    [[leaf("name", "like(any).{b*,a*}")], [leaf("name", 'like(any).{"a%",b%,"b*"}')]],
    [[leaf("name", "is.NULL")], [leaf("name", "is.null")]],
    [[leaf('"name"', "eq.x")], [leaf("name", "eq.x")]]
  ])("%j and %j", (left, right) => {
    expect(textOf(...left)).toBe(textOf(...right))
  })

  test("filters that differ have different specs", () => {
    const texts = [
      group("or", "(id.eq.1,id.eq.2)"),
      group("and", "(id.eq.1,id.eq.2)"),
      group("or", "(id.eq.1,id.eq.2)", true),
      group("and", "(id.eq.1,id.eq.2)", true),
      group("or", "(id.eq.1,not.or(id.eq.2,id.eq.3))"),
      group("or", "(id.eq.1,id.eq.2,id.eq.3)"),
      leaf("name", "like(any).{a,b}"),
      leaf("name", "like(all).{a,b}"),
      leaf("name", "fts.a"),
      leaf("name", "fts(english).a")
    ].map((tree) => textOf(tree))
    expect(new Set(texts).size).toBe(texts.length)
  })

  test("lists of the same filters in any order have equal specs", () => {
    const filters = ["id.eq.1", "name.like.*a", 'email.eq."x,y"', "not.and(id.gt.2,id.lt.9)", "or(id.is.null,id.in.(1,2))"]
    fc.assert(
      fc.property(fc.shuffledSubarray(filters, { minLength: filters.length }), (order) => {
        expect(textOf(group("or", `(${order.join()})`))).toBe(textOf(group("or", `(${filters.join()})`)))
      }),
      { numRuns: 30 }
    )
  })
})
