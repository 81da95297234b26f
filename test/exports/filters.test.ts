/** Filters as a spec holds them: equal ones alike. */
import { describe, expect, test } from "bun:test"
import { Schema } from "effect"
import * as fc from "fast-check"
import { parseFieldName } from "../../src/datasets/filters/field-name.ts"
import { parseFilterList, type WrittenTree } from "../../src/datasets/filters/filter-tree.ts"
import { ExportSpec } from "../../src/exports/export-spec.ts"
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
