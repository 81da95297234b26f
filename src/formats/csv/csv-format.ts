import { Schema } from "effect"
import { defaultDialect } from "./dialect.ts"

/** How a CSV or TSV file is written: its Dialect, what stands around the rows, and how SQL writes values of each type. */
export const CsvFormat = Schema.Struct({
  kind: Schema.Literal("csv"),
  type: Schema.Literal("csv", "tsv"),
  /** `raw` writes the bytes as the database has them, whatever its encoding. */
  encoding: Schema.Literal("utf-8", "utf-16le", "raw"),
  /** The file begins with a byte order mark. */
  bom: Schema.Boolean,
  header: Schema.Literal("names", "labels", "none"),
  delimiter: Schema.String,
  quote: Schema.String,
  quoting: Schema.Literal("minimal", "all", "text"),
  null: Schema.String,
  newline: Schema.Literal("lf", "crlf"),
  /**
   * `escape` puts an apostrophe before text that a spreadsheet would take for a formula; `escape-all` does so, too, for
   * text that it would take for a number, a date or a time and write in another way.
   */
  formulas: Schema.Literal("keep", "escape", "escape-all"),
  /**
   * `text` puts an apostrophe before numbers of more than 15 digits, which a spreadsheet would round, and, unless
   * `formulas` is `keep`, before text that it would take for a number and write in another way.
   */
  longNumbers: Schema.Literal("keep", "text"),
  /** An IANA name: the zone in which `timestamptz` is written, and read in filters. */
  timezone: Schema.String,
  /** `local`: the time on the clock in `timezone`, without an offset. */
  datetime: Schema.Literal("postgres", "iso8601", "local"),
  boolean: Schema.Literal("t/f", "true/false", "yes/no", "1/0"),
  binary: Schema.Literal("hex", "base64"),
  decimal: Schema.Literal(".", ",")
})
export type CsvFormat = typeof CsvFormat.Type

/** What COPY writes in a session with TimeZone=UTC and DateStyle=ISO. */
const postgres: CsvFormat = {
  kind: "csv",
  type: "csv",
  encoding: "utf-8",
  bom: false,
  header: "names",
  ...defaultDialect,
  formulas: "keep",
  longNumbers: "keep",
  timezone: "UTC",
  datetime: "postgres",
  boolean: "t/f",
  binary: "hex",
  decimal: "."
}

/**
 * Excel reads UTF-8 only after a byte order mark, and then takes no notice of a `sep=` line before the header; text
 * that begins with =, +, - or @ is a formula to it, numbers have 15 digits, and a time with an offset is no time.
 * @see https://support.microsoft.com/en-us/office/import-or-export-text-txt-or-csv-files-5250ac4c-663c-47ce-937b-339e391393ba
 * @see https://support.microsoft.com/en-us/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 */
const excel: CsvFormat = {
  ...postgres,
  bom: true,
  header: "labels",
  newline: "crlf",
  formulas: "escape",
  longNumbers: "text",
  datetime: "local",
  boolean: "true/false"
}

/** Named formats, for those who know where the file is to be opened. */
export const profiles = {
  postgres,
  /** @see https://www.rfc-editor.org/rfc/rfc4180 */
  rfc4180: { ...postgres, newline: "crlf", datetime: "iso8601", boolean: "true/false" },
  excel,
  /** The one file that Excel opens in columns whatever the country's list separator is. */
  "excel-utf16": { ...excel, encoding: "utf-16le", delimiter: "\t" },
  tsv: { ...postgres, type: "tsv", delimiter: "\t" }
} as const satisfies Readonly<Record<string, CsvFormat>>

export type ProfileName = keyof typeof profiles
export const defaultFormat: CsvFormat = postgres

/**
 * The media type of a file (RFC 4180 §3, RFC 7111). With a byte order mark it is `utf-16` (RFC 2781 §3.3); raw bytes have
 * no charset, since only the owner of the database knows theirs.
 */
export const csvContentType = ({ type, encoding, header }: CsvFormat): string => {
  const charset = encoding === "raw" ? "" : `; charset=${encoding === "utf-16le" ? "utf-16" : encoding}`
  return type === "tsv"
    ? `text/tab-separated-values${charset}`
    : `text/csv${charset}; header=${header === "none" ? "absent" : "present"}`
}

/** Returns why allowed values do not go together, if they do not. `field` is the parameter to blame. */
export const formatConflict = (format: CsvFormat): { field: string; detail: string } | undefined => {
  if (format.encoding === "utf-16le" && !format.bom) return { field: "bom", detail: "must be true: UTF-16 needs it" }
  if (format.encoding === "utf-16le" && format.delimiter !== "\t")
    return { field: "delimiter", detail: "must be a tab: Excel splits UTF-16 at nothing else" }
  if (format.encoding === "raw" && format.bom) return { field: "bom", detail: "must be false with encoding=raw: it is UTF-8" }
  if (format.encoding === "raw" && !/^[\0-\x7f]*$/.test(format.null))
    return { field: "null", detail: "must be ASCII with encoding=raw" }
  if (format.type === "tsv" && format.delimiter !== "\t") return { field: "delimiter", detail: "must be a tab in a TSV file" }
  if (format.decimal !== "." && format.decimal === format.delimiter)
    return { field: "decimal", detail: `must differ from the delimiter ${JSON.stringify(format.delimiter)}` }
  return undefined
}
