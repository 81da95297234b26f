/** What the schemas of parameters say of themselves; the description of the API is made from it. */
import { describe, expect, test } from "bun:test"
import { JSONSchema, Schema } from "effect"
import { commonFields, declaredFields } from "../../src/exports/parameter-fields.ts"
import { parameterNames } from "../../src/exports/parameters.ts"
import { usersDataset } from "../support/datasets.ts"

const described = (fields: Schema.Struct.Fields) =>
  (JSONSchema.make(Schema.Struct(fields)) as JSONSchema.JsonSchema7Object).properties

describe("the JSON Schema of a parameter", () => {
  const common = described(commonFields(usersDataset))

  test("has a description, whichever parameter it is", () => {
    const all = { ...common, ...described(declaredFields(usersDataset)) }
    expect(Object.keys(all).toSorted()).toEqual([...parameterNames(usersDataset)].toSorted())
    for (const [name, schema] of Object.entries(all))
      expect({ name, schema }).toMatchObject({ schema: { description: expect.stringMatching(/\.$/) } })
  })

  test("says the type, the bounds, the pattern or the values that are allowed", () => {
    expect(common).toMatchObject({
      total: { type: "integer", minimum: 1, maximum: 999_999_999_999_999 },
      bom: { type: "boolean" },
      header: { type: "string", enum: ["names", "labels", "none"] },
      null: { type: "string", pattern: String.raw`^[^\p{Cc}]{1,32}$` }
    })
    const { pattern } = common["delimiter"] as { pattern: string }
    for (const [character, isAllowed] of [
      [";", true],
      ["\t", true],
      ["\n", false],
      ["é", false],
      ["ab", false],
      ["", false]
    ] as const)
      expect([character, new RegExp(pattern, "u").test(character)]).toEqual([character, isAllowed])
  })

  test("allows a text for a list of columns, or a list", () => {
    expect(common["columns"]).toMatchObject({
      anyOf: [{ type: "string" }, { type: "array", minItems: 1, items: { anyOf: [{ type: "string" }, { type: "object" }] } }]
    })
  })

  test("says of a declared parameter what it compares, and with what", () => {
    expect(described(declaredFields(usersDataset))).toMatchObject({
      country_code: { type: "string", pattern: "^(?:[A-Z]{2})$" },
      subscription_tier: { type: "string", enum: ["free", "basic", "premium", "enterprise"] },
      min_ltv: { description: "The rows in which lifetime_value is at least this: a decimal number, such as 100 or 99.95." }
    })
  })
})
