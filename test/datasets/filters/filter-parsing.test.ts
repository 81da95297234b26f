/** Parsers of what a request says, on text that nobody would write. */
import { byName, type Column } from "../../../src/datasets/column.ts"
import { expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import { parseFieldName } from "../../../src/datasets/filters/field-name.ts"
import { parseFilterList } from "../../../src/datasets/filters/filter-tree.ts"
import { parseFilter } from "../../../src/datasets/filters/filter.ts"
import { parseColumns, parseOrder } from "../../../src/datasets/column-list.ts"
import { columnOf } from "../../support/datasets.ts"

setDefaultTimeout(60_000)

const columns: ReadonlyArray<Column> = [
  columnOf("id", ["numeric", "numeric", "N"]),
  columnOf("a.b", ["text", "text", "S"]),
  columnOf("doc", ["jsonb", "jsonb", "U"]),
  columnOf("tags", ["numeric[]", "numeric[]", "A"])
]
const parsers: ReadonlyArray<(text: string) => unknown> = [
  (text) => parseFilterList(text),
  (text) => parseColumns(text, byName(columns)),
  (text) => parseOrder(text, byName(columns)),
  (text) => parseFieldName(text),
  ...columns.flatMap((column) =>
    ["", "eq.", "in.", "eq(any).", "like(all).", "cs."].map((begin) => (text: string) => parseFilter(begin + text, column))
  )
]

test("no text makes a parser throw", () => {
  const words = String.raw`( ) , . : " \ - -> ->> { } [ ] eq in not or and is any all null id doc a.b tags 1 -1 e9 desc english * % é 😀`
  const piece = fc.constantFrom(...words.split(" "), " ", "\n", '""')
  const text = fc.array(piece, { maxLength: 25 }).map((pieces) => pieces.join(""))
  fc.assert(
    fc.property(text, (some) => {
      for (const parse of parsers) parse(some)
      for (const begin of ["(", "{", "(id.eq."]) for (const parse of parsers) parse(begin + some)
    }),
    { numRuns: 300 }
  )
})

/** Milliseconds of all parsers; whatever else the machine does makes it longer. */
const timeOf = (text: string): number => {
  const began = performance.now()
  for (const parse of parsers) parse(text)
  return performance.now() - began
}

test("no parser takes quadratic time for a long text", () => {
  const slow: Array<string> = []
  for (const piece of ["(", ")", ",", ".", '"', "\\", "->", "{", " ", "a", "1e", ".1", "-", '""', '\\"', "id.eq.1,", "or("])
    for (const begin of ["", "(", "{", '"', '{"', "(id.in.("]) {
      const text = begin + piece.repeat(Math.floor(30_000 / piece.length))
      // The square of it takes half a second and more.
      if (timeOf(text) > 300 && timeOf(text) > 300) slow.push(begin + piece)
    }
  expect(slow).toEqual([])
})
