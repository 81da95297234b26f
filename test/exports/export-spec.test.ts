import { describe, expect, test } from "bun:test"
import { Either, ParseResult, Schema } from "effect"
import * as fc from "fast-check"
import { leavesOf } from "../../src/datasets/filters/conditions.ts"
import { ExportSpec } from "../../src/exports/export-spec.ts"
import { conflictsIn, declaredConditions, exportParameters, formatOf, toExportSpec } from "../../src/exports/parameters.ts"
import { profiles } from "../../src/formats/csv/csv-format.ts"
import { usersDataset } from "../support/datasets.ts"

type Parameters = Readonly<Record<string, string>>
const decode = Schema.decodeUnknownEither(exportParameters(usersDataset), { errors: "all" })
const specOf = (parameters: Parameters): ExportSpec => {
  const decoded = Either.getOrThrow(decode(parameters))
  const conditions = declaredConditions(decoded, usersDataset).map(({ condition }) => condition)
  return toExportSpec(decoded, usersDataset, conditions)
}
const textOf = (parameters: Parameters) => JSON.stringify(specOf(parameters))
/** `field: detail` of each complaint. */
const complaints = (parameters: Parameters): ReadonlyArray<string> => {
  const result = decode(parameters)
  if (Either.isRight(result)) {
    const conflicts = conflictsIn(result.right, formatOf(result.right), usersDataset)
    return conflicts.map(({ field, detail }) => `${field}: ${detail}`)
  }
  const issues = ParseResult.ArrayFormatter.formatErrorSync(result.left)
  return issues.map(({ path, message }) => `${path.join(".")}: ${message}`)
}

const COLUMNS = "id,name,email,signup_date,country_code,subscription_tier,lifetime_value"
const everything: Parameters = {
  country_code: "US",
  subscription_tier: "premium",
  min_ltv: "99.95",
  columns: "email,id",
  delimiter: ";",
  quoteChar: "'",
  total: "10"
}

describe("a spec", () => {
  test("contains every default", () => {
    const types = ["bigint", "text", "text", "timestamp with time zone", "character(2)", "text", "numeric(12,2)"]
    expect(specOf({})).toEqual({
      dataset: "users",
      columns: COLUMNS.split(",").map((name, at) => ({ name, type: types[at]! })),
      conditions: [],
      order: [],
      format: profiles.postgres
    })
  })
  test("contains what was asked for, with the columns in their order", () => {
    expect(specOf(everything)).toEqual({
      dataset: "users",
      columns: [
        { name: "email", type: "text" },
        { name: "id", type: "bigint" }
      ],
      conditions: [
        { column: "country_code", not: false, operator: "eq", values: ["US"] },
        { column: "lifetime_value", not: false, operator: "gte", values: ["99.95"] },
        { column: "subscription_tier", not: false, operator: "eq", values: ["premium"] }
      ],
      order: [],
      total: 10,
      format: { ...profiles.postgres, delimiter: ";", quote: "'" }
    })
  })
  test("is stored and read back unchanged", () => {
    for (const spec of [specOf({}), specOf(everything)]) {
      const read = Schema.decodeUnknownSync(ExportSpec)(JSON.parse(JSON.stringify(spec)))
      expect(read).toEqual(spec)
    }
  })
})

describe("requests that mean the same have equal specs", () => {
  test.each<[Parameters, Parameters]>([
    [{ columns: COLUMNS }, {}],
    [{ delimiter: ",", quoteChar: '"' }, {}],
    [{ limit: "10" }, { total: "10" }],
    [{ total: "0010" }, { total: "10" }],
    [{ min_ltv: "100" }, { min_ltv: "100.00" }],
    [{ min_ltv: "0100.5" }, { min_ltv: "100.50" }],
    [{ min_ltv: "-0" }, { min_ltv: "0.0" }],
    [{ min_ltv: "-0.10" }, { min_ltv: "-0.1" }],
    [{ min_ltv: "000" }, { min_ltv: "0" }]
  ])("%j as %j", (left, right) => {
    expect(textOf(left)).toBe(textOf(right))
  })
  test("parameters in any order", () => {
    const names = Object.keys(everything)
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: names.length }), (order) => {
        expect(textOf(Object.fromEntries(order.map((name) => [name, everything[name]!])))).toBe(textOf(everything))
      })
    )
  })
  test("requests that differ have different specs", () => {
    const texts = [
      everything,
      { ...everything, country_code: "UK" },
      { ...everything, subscription_tier: "free" },
      { ...everything, min_ltv: "99.96" },
      { ...everything, min_ltv: "-99.95" },
      { ...everything, columns: "id,email" },
      { ...everything, columns: "email" },
      { ...everything, delimiter: "|" },
      { ...everything, quoteChar: "~" },
      { ...everything, total: "11" },
      ...Object.keys(everything).map((name) => Object.fromEntries(Object.entries(everything).filter(([key]) => key !== name)))
    ].map(textOf)
    expect(new Set(texts).size).toBe(texts.length)
  })
})

/** A decimal by its digits: sign, digits before the point, digits after it. */
const digits = (minLength: number) => fc.string({ unit: fc.constantFrom(..."0123456789".split("")), minLength, maxLength: 40 })
const decimal = fc
  .tuple(fc.constantFrom("", "-"), digits(1), digits(0))
  .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === "" ? "" : `.${fraction}`}`)
/** Its value times 10^40, in integers. */
const scaled = (text: string): bigint => {
  const [whole = "", fraction = ""] = text.replace("-", "").split(".")
  return BigInt(whole + fraction.padEnd(40, "0")) * (text.startsWith("-") ? -1n : 1n)
}
const canonical = (text: string) => leavesOf(specOf({ min_ltv: text }).conditions)[0]?.values[0] ?? ""

describe("a decimal in a filter", () => {
  test("keeps its value in its canonical form, whose canonical form it is", () => {
    fc.assert(
      fc.property(decimal, (text) => {
        expect(scaled(canonical(text))).toBe(scaled(text))
        expect(canonical(text)).toMatch(/^(0|-?[1-9]\d*|-?(0|[1-9]\d*)\.\d*[1-9])$/)
        expect(canonical(canonical(text))).toBe(canonical(text))
      }),
      { numRuns: 1_000 }
    )
  })
  test("has the canonical form of another exactly if they are equal", () => {
    const texts =
      "1 1.0 01 1.00000000000000000001 0.1 0.10 -1 -1.0 0 -0 0.00 9007199254740993 9007199254740992 9007199254740993.0"
    const near = fc.constantFrom(...texts.split(" "))
    fc.assert(
      fc.property(fc.oneof(near, decimal), fc.oneof(near, decimal), (left, right) => {
        expect(canonical(left) === canonical(right)).toBe(scaled(left) === scaled(right))
      }),
      { numRuns: 1_000 }
    )
  })
})

const refused = (field: string, allowed: string, values: ReadonlyArray<string>) =>
  test.each(values.map((value) => [value]))(`${field}=%j`, (value) => {
    const [complaint, ...others] = complaints({ [field]: value })
    expect(others).toEqual([])
    expect(complaint).toStartWith(`${field}: `)
    expect(complaint).toContain(allowed)
    expect(complaint).toContain(JSON.stringify(value))
  })

describe("a wrong value is refused, and the message names it and what is allowed", () => {
  const country = ["us", "U", "USA", "U1", "ÄÖ", "U ", "US\n", "", "'; --", "\0\0"]
  refused("country_code", "two capital letters, such as US or UK", country)
  refused("subscription_tier", "free, basic, premium, enterprise", ["gold", "Free", "free ", "", "free,basic", "1"])
  const noDecimals = "abc NaN Infinity -Infinity 1e3 0x10 1,5 1. .5 +1 --1 1.2.3 - . 1_000 ١".split(" ")
  const long = ["9".repeat(41), `0.${"1".repeat(41)}`]
  refused("min_ltv", "a decimal number, such as 100 or 99.95", [...noDecimals, ...long, "", "1 ", " 1", "1\n", "1; select 1"])
  const whole = ["0", "000", "-1", "1.5", "1e3", "ten", "", " 1", "1\n", "+1", "0x10", "٣", "9".repeat(16), "NaN", "Infinity"]
  refused("total", "a whole number from 1", whole)
  refused("limit", "a whole number from 1", whole)
  const characters = ["", "ab", "\r", "\n", "\r\n", "\0", "é", "…", "👍", "\u0080", "\u200b"]
  refused("delimiter", "one ASCII character", characters)
  refused("quoteChar", "one ASCII character", characters)

  test("a long value is cut short", () => {
    const [complaint] = complaints({ min_ltv: "9".repeat(10_000) })
    expect(complaint).toContain("99999")
    expect(complaint!.length).toBeLessThan(200)
  })
  test.each([
    ["password", "password"],
    ["id,password,name", "password"],
    ["ID", "ID"],
    ["id, name", " name"],
    ["", ""],
    ["id,", ""],
    [",id", ""],
    ["*", "*"],
    ["id;name", "id;name"],
    ["users.id", "users.id"],
    ["id--", "id--"],
    ["__proto__", "__proto__"],
    ["constructor", "constructor"]
  ])("columns=%j", (columns, wrong) => {
    expect(complaints({ columns })).toEqual([
      `columns: has the unknown column ${JSON.stringify(wrong)}; known are ${COLUMNS.replaceAll(",", ", ")}`
    ])
  })
  test("columns with one column twice", () => {
    const known = `known are ${COLUMNS.replaceAll(",", ", ")}`
    expect(complaints({ columns: "id,name,id" })).toEqual([`columns: has the column "id" twice; ${known}`])
  })
  test("delimiter and quoteChar that conflict", () => {
    expect(complaints({ delimiter: '"' })).toEqual([expect.stringMatching(/^delimiter: .*quote.*"/)])
    expect(complaints({ delimiter: '"', quoteChar: "'" })).toEqual([expect.stringMatching(/^delimiter: .*quote.*"/)])
    expect(complaints({ delimiter: ";", quoteChar: ";" })).toEqual([expect.stringMatching(/^quoteChar: .*delimiter ";"/)])
    expect(complaints({ quoteChar: "," })).toEqual([expect.stringMatching(/^quoteChar: .*delimiter ","/)])
  })
  test("total together with its alias limit", () => {
    expect(complaints({ total: "1", limit: "1" })).toEqual([expect.stringMatching(/^limit: .*alias of total/)])
  })
  test("several parameters at once", () => {
    const fields = complaints({
      country_code: "x",
      subscription_tier: "x",
      min_ltv: "x",
      columns: "x",
      delimiter: "xx",
      total: "x"
    })
    expect(fields.map((complaint) => complaint.split(":")[0]!).toSorted()).toEqual(
      ["columns", "country_code", "delimiter", "min_ltv", "subscription_tier", "total"].toSorted()
    )
  })
})

test("every ASCII character but CR, LF and NUL can be the delimiter and the quote", () => {
  const ascii = Array.from({ length: 127 }, (_, index) => String.fromCharCode(index + 1)).filter((c) => c !== "\r" && c !== "\n")
  for (const character of ascii) {
    if (character !== '"') expect(specOf({ delimiter: character, quoteChar: '"' }).format.delimiter).toBe(character)
    if (character !== ",") expect(specOf({ delimiter: ",", quoteChar: character }).format.quote).toBe(character)
  }
})
