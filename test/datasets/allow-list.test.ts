import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import { parseAllowList } from "../../src/datasets/allow-list.ts"

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

describe("EXPORT_DATASETS", () => {
  test.each([
    ["public.orders", [{ schema: "public", table: "orders" }]],
    ["reporting.*", [{ schema: "reporting", table: undefined }]],
    [
      " public.orders , reporting.* ",
      [
        { schema: "public", table: "orders" },
        { schema: "reporting", table: undefined }
      ]
    ],
    ["Public.Orders_2$", [{ schema: "public", table: "orders_2$" }]],
    ['"Odd Schema"."a "".*,b"', [{ schema: "Odd Schema", table: 'a ".*,b' }]],
    ["größe.maße", [{ schema: "größe", table: "maße" }]]
  ])("%p is read as PostgreSQL reads names", (text, expected) => {
    expect(parseAllowList(text)).toEqual(expected)
  })

  test.each([
    "orders",
    "*",
    "*.*",
    "public.",
    ".orders",
    "a.b.c",
    "a.b,",
    ",a.b",
    "a.b,,c.d",
    "a.b c.d",
    "1a.b",
    'a."b',
    'a.""',
    "a.b;",
    " "
  ])("%p is not an allow-list", (text) => {
    expect(parseAllowList(text)).toBeUndefined()
  })

  test("can contain any names in double quotes", () => {
    const name = fc.string({ minLength: 1, unit: "binary" }).filter((text) => !text.includes("\0"))
    const relations = fc.array(fc.record({ schema: name, table: fc.option(name, { nil: undefined }) }), {
      minLength: 1,
      maxLength: 5
    })
    fc.assert(
      fc.property(relations, (allowed) => {
        const text = allowed
          .map(({ schema, table }) => `${quoted(schema)}.${table === undefined ? "*" : quoted(table)}`)
          .join(",")
        expect(parseAllowList(text)).toEqual(allowed)
      })
    )
  })
})
