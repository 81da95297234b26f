import { ParseResult, Schema } from "effect"
import { type Column } from "../datasets/column.ts"
import { type Dataset, type Parameter } from "../datasets/dataset.ts"
import { optional } from "../datasets/definitions.ts"
import { canonicalConditions, show, type ConditionTree } from "../datasets/filters/conditions.ts"
import { parseFilter } from "../datasets/filters/filter.ts"
import { parseColumns, parseOrder } from "../datasets/names.ts"
import { dialectConflict, isDialectCharacter } from "../formats/csv/dialect.ts"
import { markText } from "../formats/csv/spreadsheet-text.ts"
import { defaultFormat, Format, formatConflict, profiles, type ProfileName } from "../formats/format.ts"
import type { ExportSpec } from "./export-spec.ts"

const refuse = (message: (value: unknown) => string) => ({
  // A union would list the complaint of each of its members otherwise.
  message: (issue: ParseResult.ParseIssue) => ({ message: message(issue.actual), override: true })
})
const matching = (pattern: RegExp, allowed: string) =>
  Schema.String.pipe(
    Schema.pattern(
      pattern,
      refuse((value) => `must be ${allowed}, not ${show(value)}`)
    )
  )
const oneOf = <const A extends ReadonlyArray<string>>(...allowed: A) =>
  Schema.Literal(...allowed).annotations(refuse((value) => `must be one of ${allowed.join(", ")}, not ${show(value)}`))
const trueOrFalse = Schema.compose(oneOf("true", "false"), Schema.BooleanFromString)

const Total = Schema.compose(matching(/^0*[1-9]\d{0,14}$/, "a whole number from 1 to 999999999999999"), Schema.NumberFromString)

const DialectCharacter = Schema.String.pipe(
  Schema.filter(
    (value) => isDialectCharacter(value) || `must be one ASCII character other than CR, LF and NUL, not ${show(value)}`
  )
)
const NullText = matching(/^[^\p{Cc}]{1,32}$/u, "up to 32 characters, none of them a control character")

/** An offset has two meanings: ISO's, and PostgreSQL's, which has the other sign. */
const isTimezone = (name: string): boolean => {
  try {
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== ""
  } catch {
    return false
  }
}
const Timezone = Schema.String.pipe(
  Schema.filter((value) => isTimezone(value) || `must be an IANA time zone such as Europe/Berlin, not ${show(value)}`)
)

/** Text as `parse` reads it, which tells what is wrong with it. */
const parsed = <A extends object>(parse: (text: string) => A | string) =>
  Schema.transformOrFail(Schema.String, Schema.Any as Schema.Schema<A>, {
    strict: true,
    encode: (_, __, ast) => ParseResult.fail(new ParseResult.Forbidden(ast, _, "it is only read")),
    decode: (text, _, ast) => {
      const value = parse(text)
      return typeof value === "string" ? ParseResult.fail(new ParseResult.Type(ast, text, value)) : ParseResult.succeed(value)
    }
  })

/** The parameters of every dataset. */
const commonFields = (dataset: Pick<Dataset, "columns">) => ({
  columns: optional(parsed((text) => parseColumns(text, dataset.columns))),
  dataset: optional(Schema.String),
  order_by: optional(parsed((text) => parseOrder(text, dataset.columns))),
  total: optional(Total),
  limit: optional(Total),
  profile: optional(oneOf(...(Object.keys(profiles) as ReadonlyArray<ProfileName>))),
  encoding: optional(oneOf("utf-8", "raw")),
  delimiter: optional(DialectCharacter),
  quoteChar: optional(DialectCharacter),
  quote: optional(oneOf(...Format.fields.quoting.literals)),
  null: optional(NullText),
  newline: optional(oneOf(...Format.fields.newline.literals)),
  bom: optional(trueOrFalse),
  header: optional(oneOf(...Format.fields.header.literals)),
  formulas: optional(oneOf(...Format.fields.formulas.literals)),
  timezone: optional(Timezone),
  datetime: optional(oneOf(...Format.fields.datetime.literals)),
  boolean: optional(oneOf(...Format.fields.boolean.literals)),
  binary: optional(oneOf(...Format.fields.binary.literals)),
  decimal: optional(oneOf(...Format.fields.decimal.literals))
})

const commonParameters: ReadonlyArray<string> = Object.keys(commonFields({ columns: new Map() }))
/** Names that a request gives another meaning, so that no dataset can. */
export const reservedParameters: ReadonlyArray<string> = [...commonParameters, "where", "apiKey", "errorRow"]

/** What a dataset may be asked, beside filters. */
export const parameterNames = ({ parameters }: Dataset): ReadonlyArray<string> => [
  ...Object.keys(parameters),
  ...commonParameters
]

const declaredField = (
  { values, pattern = "[^]*", allowed = `text that matches ${pattern}`, operator }: Parameter,
  on: Column
) => {
  const text = values ? oneOf(...values) : matching(new RegExp(`^(?:${pattern})$`, "u"), allowed)
  return optional<string, string>(
    text.pipe(
      Schema.filter((value) => {
        const condition = parseFilter(`${operator}.${value}`, on)
        return typeof condition === "string" ? condition : true
      })
    )
  )
}

type Declared = Readonly<Record<string, string | undefined>>

const columnOf = ({ column }: Parameter, { columns }: Dataset) => columns.get(column)!

const parameterFields = (dataset: Dataset) =>
  Schema.Struct({
    ...Object.fromEntries(
      Object.entries(dataset.parameters).map(([name, parameter]) => [
        name,
        declaredField(parameter, columnOf(parameter, dataset))
      ])
    ),
    ...commonFields(dataset)
  })
type Parameters = Schema.Schema.Type<ReturnType<typeof parameterFields>>

/** The parameters of an export as text, one value each. */
export const exportParameters = (dataset: Dataset) =>
  parameterFields(dataset).pipe(
    Schema.filter((parameters) => {
      const { total, limit, header, encoding, profile, columns = [] } = parameters
      const format = formatOf(parameters)
      const dialect = dialectConflict(format)
      const conflicts = [
        dialect && { field: dialect.field === "quote" ? "quoteChar" : dialect.field, detail: dialect.detail },
        formatConflict(format),
        encoding !== undefined && profile !== undefined && profile !== "postgres"
          ? { field: "encoding", detail: "is for profile=postgres alone, where it is utf-8 or raw" }
          : undefined,
        total !== undefined && limit !== undefined
          ? { field: "limit", detail: "is an alias of total; give only one of them" }
          : undefined,
        (total ?? limit ?? 0) > (dataset.maxRows ?? Number.POSITIVE_INFINITY)
          ? { field: total === undefined ? "limit" : "total", detail: `must be at most ${dataset.maxRows}` }
          : undefined,
        header !== undefined && header !== "labels" && columns.some(({ label }) => label !== undefined)
          ? { field: "header", detail: "must be labels where columns have some" }
          : undefined
      ]
      return conflicts
        .filter((conflict) => conflict !== undefined)
        .map(({ field, detail }) => ({ path: [field], message: detail }))
    })
  )
const formatOf = (parameters: Parameters): Format => {
  const { profile, quoteChar, quote, delimiter, newline, bom, header, columns = [] } = parameters
  const base = profile === undefined ? defaultFormat : profiles[profile]
  const labels = columns.some(({ label }) => label !== undefined)
  const marks = { formulas: parameters.formulas ?? base.formulas, longNumbers: base.longNumbers }
  return {
    type: base.type,
    encoding: parameters.encoding ?? base.encoding,
    bom: bom ?? base.bom,
    header: header ?? (labels ? "labels" : base.header),
    delimiter: delimiter ?? base.delimiter,
    quote: quoteChar ?? base.quote,
    quoting: quote ?? base.quoting,
    null: markText(parameters.null ?? base.null, marks),
    newline: newline ?? base.newline,
    ...marks,
    timezone: parameters.timezone ?? base.timezone,
    datetime: parameters.datetime ?? base.datetime,
    boolean: parameters.boolean ?? base.boolean,
    binary: parameters.binary ?? base.binary,
    decimal: parameters.decimal ?? base.decimal
  }
}

/** The conditions of a dataset's own parameters. */
export const declaredConditions = (parameters: Parameters, dataset: Dataset) =>
  Object.entries(dataset.parameters).flatMap(([field, parameter]) => {
    const value = Object.hasOwn(parameters, field) ? (parameters as Declared)[field] : undefined
    if (value === undefined) return []
    const on = columnOf(parameter, dataset)
    const condition = parseFilter(`${parameter.operator}.${value}`, on)
    if (typeof condition === "string") throw new Error(`${field} ${condition}`)
    return [{ condition, field, column: on }]
  })

export const toExportSpec = (
  parameters: Parameters,
  dataset: Dataset,
  conditions: ReadonlyArray<ConditionTree> = []
): ExportSpec => {
  const { total, limit, order_by } = parameters
  const format = formatOf(parameters)
  const declared = declaredConditions(parameters, dataset).map(({ condition }) => condition)
  const columns = parameters.columns ?? [...dataset.columns.values()].map((column) => ({ column, label: undefined }))
  const rows = total ?? limit ?? dataset.maxRows
  return {
    dataset: dataset.name,
    columns: columns.map(({ column, label }) => ({
      name: column.name,
      type: dataset.columns.get(column.name)!.type,
      ...(column.path && { path: column.path }),
      ...(format.header === "labels" && { label: label ?? column.label })
    })),
    conditions: canonicalConditions([...declared, ...conditions]),
    order: [...(order_by ?? dataset.order)],
    ...(rows !== undefined && { total: rows }),
    format
  }
}
