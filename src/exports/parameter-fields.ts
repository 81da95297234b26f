/** What a request may say, as schemas with descriptions: they decode a query and a body, and describe both. */
import { Schema } from "effect"
import type { Column } from "../datasets/column.ts"
import { parseColumns, parseOrder } from "../datasets/column-list.ts"
import type { Dataset, Parameter } from "../datasets/dataset.ts"
import type { ColumnCondition } from "../datasets/filters/conditions.ts"
import { parseFilter } from "../datasets/filters/filter.ts"
import { CsvFormat, profiles, type ProfileName } from "../formats/csv/csv-format.ts"
import {
  columnList,
  described,
  DialectCharacter,
  matching,
  NullText,
  oneOf,
  parsed,
  Text,
  Timezone,
  Total,
  TrueOrFalse
} from "./parameter-values.ts"

/** A parameter that may be left out. It is then absent, never undefined. */
const parameter = <A, I>(...[schema, description, ...examples]: Parameters<typeof described<A, I>>) =>
  Schema.optionalWith(described(schema, description, ...examples), { exact: true })

/** The parameters of every dataset. */
export const commonFields = ({ columns }: Pick<Dataset, "columns">) => ({
  columns: parameter(
    columnList((written) => parseColumns(written, columns)),
    "The columns of the file, in this order; by default all. A column may have a label after a colon, and a path into " +
      "its JSON: `id,email:E-mail,doc->>key`. A name or a label with a comma, a colon or a quote stands in double quotes."
  ),
  dataset: parameter(Text, "The dataset that is exported; `/datasets` lists them."),
  order_by: parameter(
    columnList((written) => parseOrder(written, columns)),
    "The order of the rows: `-signup_date,id`, or `signup_date.desc.nullslast,id.asc`. By default the dataset's own, or none."
  ),
  total: parameter(Total, "The most rows that the file has; by default all.", 1000),
  limit: parameter(Total, "Another name of `total`.", 1000),
  profile: parameter(
    oneOf(...(Object.keys(profiles) as ReadonlyArray<ProfileName>)),
    "A format by its name. The parameters that follow change single choices of it; by default `postgres`, which is what COPY writes."
  ),
  encoding: parameter(
    oneOf("utf-8", "raw"),
    "The encoding of the file. `raw` has the bytes as the database stores them, whatever its encoding is."
  ),
  delimiter: parameter(DialectCharacter, "The character between two values.", ";"),
  quoteChar: parameter(DialectCharacter, "The character around a quoted value.", "'"),
  quote: parameter(
    oneOf(...CsvFormat.fields.quoting.literals),
    "Which values are quoted: those that need it, all, or those of text columns, too. NULL never is."
  ),
  null: parameter(NullText, "What stands for NULL; by default nothing.", "NULL"),
  newline: parameter(oneOf(...CsvFormat.fields.newline.literals), "What ends a line."),
  bom: parameter(TrueOrFalse, "Whether the file begins with a byte order mark."),
  header: parameter(
    oneOf(...CsvFormat.fields.header.literals),
    "What the first line has: the columns' names or their labels. With `none`, there is no such line."
  ),
  formulas: parameter(
    oneOf(...CsvFormat.fields.formulas.literals),
    "Whether an apostrophe is put before text that a spreadsheet would take for a formula, or, with `escape-all`, before " +
      "any text that it would change."
  ),
  timezone: parameter(
    Timezone,
    "The IANA time zone in which `timestamptz` is written, and in which filters are read.",
    "Europe/Berlin"
  ),
  datetime: parameter(
    oneOf(...CsvFormat.fields.datetime.literals),
    "How times are written: as PostgreSQL does, as ISO 8601, or as the time on the clock in `timezone`, without an offset."
  ),
  boolean: parameter(oneOf(...CsvFormat.fields.boolean.literals), "How truth values are written."),
  binary: parameter(oneOf(...CsvFormat.fields.binary.literals), "How `bytea` is written."),
  decimal: parameter(oneOf(...CsvFormat.fields.decimal.literals), "The decimal separator.")
})

const COMPARISONS: Readonly<Record<Parameter["operator"], string>> = {
  eq: "is",
  neq: "is not",
  gt: "is greater than",
  gte: "is at least",
  lt: "is less than",
  lte: "is at most"
}

const declaredField = (
  { values, pattern = "[^]*", allowed = `text that matches ${pattern}`, operator }: Parameter,
  column: Column
) => {
  const condition = parsed<ColumnCondition, string, string>(
    values ? oneOf(...values) : matching(new RegExp(`^(?:${pattern})$`, "u"), allowed),
    (value) => {
      const read = parseFilter(`${operator}.${value}`, column)
      return typeof read === "string" ? read : { condition: read, column }
    }
  )
  return parameter(condition, `The rows in which ${column.name} ${COMPARISONS[operator]} this${values ? "" : `: ${allowed}`}.`)
}

/** The parameters that the definition of a dataset declares. */
export const declaredFields = ({ parameters, columns }: Dataset) =>
  Object.fromEntries(
    Object.entries(parameters).map(([name, declared]) => [name, declaredField(declared, columns.get(declared.column)!)])
  )
