/** Schemas of single values of a request: what is allowed stands in each, for those who read a refusal or the API's description. */
import { Option, ParseResult, Schema, SchemaAST } from "effect"
import type { WrittenColumns } from "../datasets/column-list.ts"
import { show } from "../datasets/filters/conditions.ts"
import { isDialectCharacter } from "../formats/csv/dialect.ts"

/** Says what a value must be. A union would list the complaint of each of its members otherwise. */
const refuse = (message: (value: unknown) => string) => ({
  message: (issue: ParseResult.ParseIssue) => ({ message: message(issue.actual), override: true })
})
const mustBe = (allowed: string) => refuse((value) => `must be ${allowed}, not ${show(value)}`)

/** A text. Numbers and truth values of a JSON body come as what was written. */
export const Text = Schema.String.annotations(refuse(() => "must be a string, a number, true or false"))

/** A text that matches a pattern. */
export const matching = (pattern: RegExp, allowed: string) => Text.pipe(Schema.pattern(pattern, mustBe(allowed)))

/** A text that a test accepts; `pattern` describes it. */
const accepted = (isAccepted: (value: string) => boolean, allowed: string, pattern: string) =>
  Text.pipe(Schema.filter(isAccepted, { ...mustBe(allowed), jsonSchema: { pattern } }))

export const oneOf = <const A extends ReadonlyArray<string>>(...allowed: A) =>
  Schema.Literal(...allowed).annotations(mustBe(`one of ${allowed.join(", ")}`))

export const TrueOrFalse = Schema.compose(oneOf("true", "false"), Schema.BooleanFromString).annotations({
  jsonSchema: { type: "boolean" }
})

const MOST_ROWS = 999_999_999_999_999
export const Total = Schema.compose(
  matching(/^0*[1-9]\d{0,14}$/, `a whole number from 1 to ${MOST_ROWS}`),
  Schema.NumberFromString
).annotations({ jsonSchema: { type: "integer", minimum: 1, maximum: MOST_ROWS } })

export const DialectCharacter = accepted(
  isDialectCharacter,
  "one ASCII character other than CR, LF and NUL",
  String.raw`^[\x01-\x09\x0b\x0c\x0e-\x7f]$`
)

export const NullText = matching(/^[^\p{Cc}]{1,32}$/u, "up to 32 characters, none of them a control character")

/** An offset has two meanings: ISO's, and PostgreSQL's, which has the other sign. */
const isTimezone = (name: string): boolean => {
  try {
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== ""
  } catch {
    return false
  }
}
export const Timezone = accepted(isTimezone, "an IANA time zone such as Europe/Berlin", "^[A-Za-z]")

/** A list of columns: a text, or in JSON a list, too. */
const ColumnList = Schema.Union(
  Schema.String,
  Schema.Array(
    Schema.Union(
      Schema.String,
      Schema.Struct({ name: Schema.String, label: Schema.optionalWith(Schema.String, { exact: true }) })
    )
  ).pipe(Schema.minItems(1))
).annotations(refuse(() => 'must be a string, or a list of names and of objects such as {"name": "id", "label": "Number"}'))

/** What a parser makes of a value. */
const Parsed = <A extends object>() => Schema.declare((value: unknown): value is A => typeof value === "object")

/** A value as `parse` reads it. The parser returns a string to say what is wrong. */
export const parsed = <A extends object, I, R>(from: Schema.Schema<I, R>, parse: (value: I) => A | string) =>
  Schema.transformOrFail(from, Parsed<A>(), {
    strict: true,
    encode: (value, _, ast) => ParseResult.fail(new ParseResult.Forbidden(ast, value, "cannot be written")),
    decode: (value, _, ast) => {
      const read = parse(value)
      return typeof read === "string" ? ParseResult.fail(new ParseResult.Type(ast, value, read)) : ParseResult.succeed(read)
    }
  })

/** A list of columns as `parse` reads it. */
export const columnList = <A extends object>(parse: (written: WrittenColumns) => A | string) => parsed(ColumnList, parse)

/** Describes a value. A JSON Schema of its own would replace the description, so it gets that, too. */
export const described = <A, I>(
  schema: Schema.Schema<A, I>,
  description: string,
  ...examples: ReadonlyArray<A>
): Schema.Schema<A, I> => {
  const own = Option.getOrUndefined(SchemaAST.getJSONSchemaAnnotation(schema.ast))
  const [first, ...more] = examples
  const says = { description, ...(first !== undefined && { examples: [first, ...more] as const }) }
  return schema.annotations({ ...says, ...(own && "type" in own && { jsonSchema: { ...own, ...says } }) })
}
