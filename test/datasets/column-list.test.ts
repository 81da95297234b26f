/** Lists of columns: as a text, and as a list in JSON. */
import { describe, expect, test } from "bun:test"
import { byName } from "../../src/datasets/column.ts"
import { parseColumns, parseOrder, type WrittenColumns } from "../../src/datasets/column-list.ts"
import { columnOf } from "../support/datasets.ts"

const names = ["id", "a,b", 'say "hi"', "a:b", "-id", "id.desc"]
const columns = byName([...names.map((name) => columnOf(name, ["text", "text", "S"])), columnOf("doc", ["jsonb", "jsonb", "U"])])

const read = (written: WrittenColumns) => {
  const items = parseColumns(written, columns)
  return typeof items === "string" ? items : items.map(({ column, label }) => [column.name, column.path?.length ?? 0, label])
}

describe("a list in JSON means what the text does", () => {
  test.each<[ReadonlyArray<string | { name: string; label?: string }>, string]>([
    [["id", "a,b"], 'id,"a,b"'],
    [["id:Number", '"a:b":"c,d"'], 'id:Number,"a:b":"c,d"'],
    [[{ name: 'say "hi"' }, { name: "a:b", label: "x:y" }], '"say ""hi""","a:b":"x:y"'],
    [["doc->a->>0", { name: "doc->b", label: "B" }], "doc->a->>0,doc->b:B"],
    [['doc->>"a,b"'], 'doc->>"a,b"'],
    [["-id", "id.desc"], "-id,id.desc"]
  ])("columns: %j", (list, text) => {
    const items = read(text)
    expect(items).toBeArrayOfSize(list.length)
    expect(read(list)).toEqual(items)
  })

  test.each<[ReadonlyArray<string | { name: string }>, string]>([
    [["-id", "a,b"], '-id,"a,b"'],
    [["-a,b", "id.asc.nullsfirst"], '-"a,b",id.asc.nullsfirst'],
    [[{ name: "id.desc" }, "doc->a.desc"], '"id.desc",doc->a.desc']
  ])("order_by: %j", (list, text) => {
    const order = parseOrder(text, columns)
    expect(order).toBeArrayOfSize(list.length)
    expect(parseOrder(list, columns)).toEqual(order)
  })
})

test.each<[WrittenColumns, RegExp]>([
  ["id,", /^has the unknown column ""; known are id, /],
  [["id", "id"], /^has the column "id" twice/],
  ['"id', /^must be a list such as /],
  [['"id', 'a"'], /^must be a list such as /],
  [[{ name: "no" }], /^has the unknown column "no"/]
])("columns=%j is refused", (written, mistake) => {
  expect(parseColumns(written, columns)).toMatch(mistake)
})
