/** Which text is marked, against a model of how spreadsheets read numbers. */
import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { markText } from "../../../src/formats/csv/spreadsheet-text.ts"

const numbers = { formulas: "escape", longNumbers: "text" } as const
const dates = { formulas: "escape-all", longNumbers: "keep" } as const

const blanks = /[\s\u0085\u180e\u200b\ufeff]+/gu

/** The plain digits of a number, or nothing: a spreadsheet's reading with these separators, more generous than theirs. */
const readNumber = (text: string, decimal: string, group: string): string | undefined => {
  let rest = text.replaceAll(blanks, " ").trim()
  let negative = false
  for (let before = ""; before !== rest;) {
    before = rest
    rest = rest.replace(/^[$€£¥₹] ?| ?[$€£¥₹%]$/u, "").trim()
    rest = rest.replace(/^\((.*)\)$/, "-$1")
    const sign = /^[-+] ?(?=[^-+])|(?<=[^-+eE]) ?[-+]$/.exec(rest)
    if (sign) negative ||= sign[0].includes("-")
    if (sign) rest = (rest.slice(0, sign.index) + rest.slice(sign.index + sign[0].length)).trim()
  }
  const fraction = /^(\d+) +(\d+) ?\/ ?(\d+)$/.exec(rest)
  if (fraction) return String(Number(fraction[1]) + Number(fraction[2]) / Number(fraction[3]))
  const plain = rest
    .replaceAll(/(?<=\d) ?([eE]) ?([-+]?) ?(?=\d)/g, "$1$2")
    .replaceAll(new RegExp(String.raw`(?<=\d)[${group}](?=\d)`, "g"), "")
    .replace(decimal, ".")
  if (!/^(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(plain)) return undefined
  return (negative ? "-" : "") + String(Number(plain))
}

const locales = [
  [".", ","],
  [",", "."],
  [",", " "],
  [".", "'"],
  [".", "’"]
] as const

/** What a cell holds after a spreadsheet has read it and written it again. */
const throughSpreadsheet = (text: string): ReadonlyArray<string> => {
  if (text.startsWith("'")) return [text]
  if (/^\s*(true|false)\s*$/i.test(text)) return [text.trim().toUpperCase()]
  if (/^[=+@-]/.test(text.replace(blanks, ""))) return ["computed"]
  return locales.map(([decimal, group]) => readNumber(text, decimal, group) ?? text)
}

const unit = fc.constantFrom(...Array.from("0011123459..,,''  eE+-%$€()/:’\u00a0\u202f\tTaé"))
const pieces = fc.constantFrom(
  "1",
  "0",
  "00123",
  "1.10",
  "1E5",
  "1,000",
  "50%",
  "12/31",
  "true",
  "FALSE",
  "Mar",
  " 1",
  "5 ",
  "'",
  "="
)
const texts = fc.oneof(
  fc.string({ unit, maxLength: 9 }),
  fc.string({ unit: pieces, maxLength: 3 }),
  fc.string({ unit: "grapheme" })
)

test("a spreadsheet writes unmarked text back unchanged", () => {
  fc.assert(
    fc.property(texts, (text) => {
      for (const marks of [numbers, dates]) {
        const written = markText(text, marks)
        for (const one of throughSpreadsheet(written)) expect(one).toBe(written)
      }
    }),
    { numRuns: 3_000 }
  )
})

test("taking one apostrophe away from marked text gives the value", () => {
  fc.assert(
    fc.property(texts, fc.nat(3), (text, apostrophes) => {
      const value = "'".repeat(apostrophes) + text
      for (const marks of [numbers, dates, { ...numbers, longNumbers: "keep" } as const]) {
        const cell = markText(value, marks)
        // A reader tells a mark by the same rule: it is there where the text behind the apostrophes would be marked.
        const marked = cell.startsWith("'") && markText(cell.replace(/^'+/, ""), marks).startsWith("'")
        expect(marked ? cell.slice(1) : cell).toBe(value)
        expect(markText(`'${value}`, marks) === `'${value}`).toBe(cell === value)
      }
    }),
    { numRuns: 3_000 }
  )
})

test.each([
  ["numbers", numbers, ["00123", "1E5", "1e-3", "1.10", "1.5", "+1", "-1", " 1 ", "1,000", "1.000,5", "1'000", "1 000"]],
  ["percentages, currencies and brackets", numbers, ["50%", "$5", "5 €", "$-5", "(5)", ".5", "5.", "1 1/2", "5-", "１２３"]],
  ["words and errors", numbers, ["TRUE", "false", "True ", "#N/A", "#REF!", "#NAME?", "#DIV/0!"]],
  ["long digits", numbers, ["1234567890123456", "1.234.567.890.123.456"]],
  ["dates", dates, ["1-2", "1/2", "MARCH1", "Mar 1", "2024-01-31", "31.12.2024", "5. Mai", "1 de mayo de 2024", "2024年1月31日"]],
  ["times", dates, ["12:30", "1pm", "12:30 PM", "2024-01-31T12:30:00+02:00", "12h30"]],
  ["weekdays", dates, ["Monday, January 1, 2024", "Mon Jan 1 2024", "Montag, 1. Januar 2024"]],
  ["what is marked anyway", dates, ["00123", "=1", "TRUE", "1.10", "5%"]]
] as const)("%s are marked", (_, marks, values) => {
  expect(values.map((text) => markText(text, marks))).toEqual(values.map((text) => `'${text}`))
})

test.each([
  ["numbers that stay as they are", dates, ["0", "123", "123456789012345", "'123", "''0"]],
  ["words", dates, ["", "Ärger", "日本", "January", "Truely", "'t Hooft", "12 Main Street", "#1", "null", "a@b.example"]],
  ["dates, where numbers alone are marked", numbers, ["1-2", "MARCH1", "2024-01-31", "12:30", "1/2", "Mar 1", "'1-2", "1 - 2"]],
  ["numbers, where formulas alone are", { formulas: "escape", longNumbers: "keep" }, ["00123", "1.10", "TRUE", "1-2"]],
  ["all", { formulas: "keep", longNumbers: "text" }, ["=1", "00123", "1-2"]]
] as const)("%s are not marked", (_, marks, values) => {
  expect(values.map((text) => markText(text, marks))).toEqual([...values])
})
