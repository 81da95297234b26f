/** Random CSV for property tests: dialects, and the text that is awkward in them. */
import { parse } from "csv-parse/sync"
import * as fc from "fast-check"
import { defaultDialect, dialectConflict, isDialectCharacter, type Dialect } from "../../../src/formats/csv/dialect.ts"

const ascii = fc.integer({ min: 1, max: 127 }).map((code) => String.fromCharCode(code))
const usual = [{}, { delimiter: ";", quote: "'" }, { delimiter: "\t", quote: "\\" }, { delimiter: "\\", quote: "." }].map(
  (change) => ({
    ...defaultDialect,
    ...change
  })
)
const others = fc.record({
  delimiter: ascii,
  quote: ascii,
  quoting: fc.constantFrom("minimal", "minimal", "all", "text"),
  null: fc.constantFrom("", "", "\\N", "NULL", ".", "é"),
  newline: fc.constantFrom("lf", "lf", "crlf")
})

/** The usual ones, and any that are allowed. */
export const dialects: fc.Arbitrary<Dialect> = fc
  .oneof(fc.constantFrom(...usual), others)
  .filter((dialect) => isDialectCharacter(dialect.delimiter) && isDialectCharacter(dialect.quote) && !dialectConflict(dialect))

/** Pieces of text that a careless writer or reader damages. */
export const awkward = ({ delimiter, quote }: Dialect): Array<string> =>
  [delimiter, quote, "\r", "\n", "\r\n", "\\", ".", "\\.", " ", "\t"].concat(["e\u0301", "👩‍👩‍👧", "\u{10ffff}", "\ufeff"])

/** The values of a file by an independent parser; what stands for NULL and a value equal to it are told apart. */
export const parseCsv = (file: Buffer, { delimiter, quote, newline, null: nothing }: Dialect): unknown => {
  const cast = (value: string, { quoting }: { quoting: boolean }) => (value === nothing && !quoting ? null : value)
  return parse(file, { delimiter, quote, escape: quote, record_delimiter: newline === "crlf" ? "\r\n" : "\n", cast })
}
