import { ParseResult, Schema } from "effect"
import { defaultDialect, dialectConflict, isDialectCharacter } from "../csv/dialect.ts"
import type { Dataset } from "../datasets/dataset.ts"
import { subscriptionTiers } from "../datasets/users.ts"

/**
 * What to export: validated and canonical, so that equal requests have equal specs and equal fingerprints.
 * `columns` is always the full list, `min_ltv` a decimal without superfluous zeros, `total` absent for all rows.
 */
export const ExportSpec = Schema.Struct({
  /** Its name. */
  dataset: Schema.String,
  filters: Schema.Struct({
    country_code: Schema.optional(Schema.String),
    subscription_tier: Schema.optional(Schema.String),
    min_ltv: Schema.optional(Schema.String)
  }),
  columns: Schema.Array(Schema.String),
  /** The columns' types when it was asked for; an export of other ones would not be what was asked for. */
  types: Schema.optional(Schema.Array(Schema.String)),
  delimiter: Schema.String,
  quote: Schema.String,
  total: Schema.optional(Schema.Int)
})
export type ExportSpec = typeof ExportSpec.Type

const refuse = (message: (value: unknown) => string) => ({
  // A union would list the complaint of each of its members otherwise.
  message: (issue: ParseResult.ParseIssue) => ({ message: message(issue.actual), override: true })
})
/** A wrong value as an error may show it: quoted, escaped, short. */
const show = (value: unknown) => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

const CountryCode = Schema.String.pipe(
  Schema.pattern(
    /^[A-Z]{2}$/,
    refuse((value) => `must be two capital letters, such as US or UK, not ${show(value)}`)
  )
)
const SubscriptionTier = Schema.Literal(...subscriptionTiers).annotations(
  refuse((value) => `must be one of ${subscriptionTiers.join(", ")}, not ${show(value)}`)
)
/** A decimal stays text from the request to the bound value: a float would round it. */
const Decimal = Schema.transform(
  Schema.String.pipe(
    Schema.pattern(
      /^-?\d{1,40}(\.\d{1,40})?$/,
      refuse((value) => `must be a decimal number, such as 100 or 99.95, not ${show(value)}`)
    )
  ),
  Schema.String,
  {
    strict: true,
    encode: (value) => value,
    decode: (value) => {
      const [whole = "", fraction = ""] = value.replace("-", "").split(".")
      const digits = [whole.replace(/^0+(?=\d)/, ""), fraction.replace(/0+$/, "")].filter((part) => part !== "").join(".")
      return value.startsWith("-") && digits !== "0" ? `-${digits}` : digits
    }
  }
)
const columnsOf = ({ columns }: Dataset) =>
  Schema.transformOrFail(Schema.String, Schema.Array(Schema.String), {
    strict: true,
    encode: (names) => ParseResult.succeed(names.join(",")),
    decode: (value, _, ast) => {
      const names = value.split(",")
      const known = columns.map(({ name }) => name)
      const unknown = names.find((name) => !known.includes(name))
      const repeated = names.find((name, index) => names.indexOf(name) !== index)
      const detail =
        unknown !== undefined
          ? `has the unknown column ${show(unknown)}; known are ${known.join(", ")}`
          : repeated !== undefined
            ? `has the column ${show(repeated)} twice; known are ${known.join(", ")}`
            : undefined
      return detail === undefined ? ParseResult.succeed(names) : ParseResult.fail(new ParseResult.Type(ast, value, detail))
    }
  })
const Total = Schema.String.pipe(
  Schema.pattern(
    /^0*[1-9]\d{0,14}$/,
    refuse((value) => `must be a whole number from 1 to 999999999999999, not ${show(value)}`)
  ),
  Schema.compose(Schema.NumberFromString)
)

const DialectCharacter = Schema.String.pipe(
  Schema.filter(
    (value) => isDialectCharacter(value) || `must be one ASCII character other than CR, LF and NUL, not ${show(value)}`
  )
)
/** A parameter that may be left out, but not be undefined: that would double each message. */
export const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

/** The parameters of every dataset. */
const commonFields = (dataset: Dataset) => ({
  columns: optional(columnsOf(dataset)),
  delimiter: optional(DialectCharacter),
  quoteChar: optional(DialectCharacter),
  total: optional(Total),
  limit: optional(Total),
  dataset: optional(Schema.String)
})
export const parameterNames = (dataset: Dataset): ReadonlyArray<string> => [
  ...Object.keys(dataset.parameters),
  ...Object.keys(commonFields(dataset))
]

/** The parameters of an export as text, one value each; those of one dataset alone are given for no other. */
export const exportParameters = (dataset: Dataset) =>
  Schema.Struct({
    country_code: optional(CountryCode),
    subscription_tier: optional(SubscriptionTier),
    min_ltv: optional(Decimal),
    ...commonFields(dataset)
  }).pipe(
    Schema.filter(({ delimiter = defaultDialect.delimiter, quoteChar = defaultDialect.quote, total, limit }) => {
      const conflict = dialectConflict({ delimiter, quote: quoteChar })
      return [
        ...(conflict ? [{ path: [conflict.field === "quote" ? "quoteChar" : "delimiter"], message: conflict.detail }] : []),
        ...(total !== undefined && limit !== undefined
          ? [{ path: ["limit"], message: "is an alias of total; give only one of them" }]
          : [])
      ]
    })
  )

export const toExportSpec = (
  parameters: Schema.Schema.Type<ReturnType<typeof exportParameters>>,
  dataset: Dataset
): ExportSpec => {
  const { country_code, subscription_tier, min_ltv, delimiter, quoteChar, total, limit } = parameters
  const columns = parameters.columns ?? dataset.columns.map(({ name }) => name)
  const rows = total ?? limit
  return {
    dataset: dataset.name,
    filters: {
      ...(country_code !== undefined && { country_code }),
      ...(subscription_tier !== undefined && { subscription_tier }),
      ...(min_ltv !== undefined && { min_ltv })
    },
    columns: [...columns],
    types: columns.map((column) => dataset.columns.find(({ name }) => name === column)!.type),
    delimiter: delimiter ?? defaultDialect.delimiter,
    quote: quoteChar ?? defaultDialect.quote,
    ...(rows !== undefined && { total: rows })
  }
}

/** SHA-256 (hex) of the canonical form: `toExportSpec` always writes the keys in one order. */
export const fingerprint = (spec: ExportSpec): string => new Bun.CryptoHasher("sha256").update(JSON.stringify(spec)).digest("hex")
