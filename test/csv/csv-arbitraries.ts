/** Random CSV for property tests: dialects, and the text that is awkward in them. */
import { parse } from "csv-parse/sync"
import * as fc from "fast-check"
import { defaultDialect, dialectConflict, isDialectCharacter, type Dialect } from "../../src/csv/dialect.ts"

const ascii = fc.integer({ min: 1, max: 127 }).map((code) => String.fromCharCode(code))
const usual = [defaultDialect, { delimiter: ";", quote: "'" }, { delimiter: "\t", quote: "\\" }, { delimiter: "\\", quote: "." }]

/** The usual ones, and any that are allowed. */
export const dialects: fc.Arbitrary<Dialect> = fc
  .oneof(fc.constantFrom(...usual), fc.record({ delimiter: ascii, quote: ascii }))
  .filter((dialect) => isDialectCharacter(dialect.delimiter) && isDialectCharacter(dialect.quote) && !dialectConflict(dialect))

/** Pieces of text that a careless writer or reader damages. */
export const awkward = ({ delimiter, quote }: Dialect): Array<string> =>
  [delimiter, quote, "\r", "\n", "\r\n", "\\", ".", "\\.", " ", "\t"].concat(["e\u0301", "👩‍👩‍👧", "\u{10ffff}", "\ufeff"])

const cast = (value: string, { quoting }: { quoting: boolean }) => (value === "" && !quoting ? null : value)
/** The values of a file by an independent parser; an empty string and NULL are told apart. */
export const parseCsv = (file: Buffer, { delimiter, quote }: Dialect): unknown =>
  parse(file, { delimiter, quote, escape: quote, record_delimiter: "\n", cast })
