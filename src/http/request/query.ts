import { Effect, Either, ParseResult, SchemaAST, type Schema } from "effect"
import { someOf } from "../../datasets/filters/conditions.ts"
import { limits } from "../../limits.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import { InvalidRequest } from "../failures.ts"

/** What a sentence lists at most. */
export const MOST_LISTED = 20
/** Characters of a wrong name that an error shows. */
const MAX_NAME = 60
/** Stands for the fields beyond those that an error lists. */
const OTHERS = "*"

/** Makes an error of all that is wrong with a request: for each field the first problem. */
export const invalid = (problems: ReadonlyArray<FieldProblem>): InvalidRequest => {
  const byField = new Map<string, string>()
  for (const { field, detail } of problems) {
    const name = field.slice(0, MAX_NAME)
    if (!byField.has(name)) byField.set(name, detail)
  }
  const all = [...byField].map(([field, detail]) => ({ field, detail }))
  const errors = all.slice(0, limits.wrongFields)
  const more = all.length - errors.length
  const sentences = errors.map(({ field, detail }) => `${field} ${detail}`)
  return new InvalidRequest({
    detail: [...sentences.slice(0, MOST_LISTED), ...moreWrong(all.length - MOST_LISTED)].join("; "),
    errors: [...errors, ...moreWrong(more).map((detail) => ({ field: OTHERS, detail }))]
  })
}

const moreWrong = (count: number): ReadonlyArray<string> =>
  count > 0 ? [`${count} more ${count === 1 ? "field is" : "fields are"} wrong`] : []

/** A parameter as a request has it: a text in a query; in a JSON body perhaps a list or an object. */
export interface RawParameter<A = unknown> {
  readonly field: string
  readonly value: A
}

/** What was read of a request, and what was wrong with the rest of it. */
export interface Read<A> {
  readonly values: A
  readonly errors: ReadonlyArray<FieldProblem>
}

/** Says what is wrong with any text, if something is. */
export const checkText = (text: string): string | undefined => {
  if (text === "") return "is empty; leave it out or give a value"
  if (!text.isWellFormed()) return "is not valid Unicode"
  return text.includes("\0") ? "contains a NUL character" : undefined
}

const decodeComponent = (text: string): string | undefined => {
  try {
    // application/x-www-form-urlencoded: a plus is a space. URLSearchParams would hide broken escapes.
    return decodeURIComponent(text.replaceAll("+", " "))
  } catch {
    return undefined
  }
}

/** The runtime replaces bytes of a URL that are not UTF-8 by this character, which would silently change a value. */
const REPLACEMENT = "\ufffd"
const NOT_UTF8 = "contains U+FFFD, which replaces bytes that are not UTF-8; a JSON body may contain it"

/** Reads the query of a request, in its order. A parameter that is empty or badly encoded is an error. */
export const readQuery = ({ search }: URL): Read<ReadonlyArray<RawParameter<string>>> => {
  const errors: Array<FieldProblem> = []
  const values: Array<RawParameter<string>> = []
  const query = search.slice(1)
  for (const pair of query === "" ? [] : query.split("&")) {
    const [rawName = "", ...rest] = pair.split("=")
    const field = decodeComponent(rawName)
    const value = decodeComponent(rest.join("="))
    if (field === undefined || value === undefined)
      errors.push({ field: field ?? rawName, detail: "is not valid percent-encoded UTF-8" })
    else {
      const detail = checkText(value) ?? (value.includes(REPLACEMENT) ? NOT_UTF8 : undefined)
      if (detail === undefined) values.push({ field, value })
      else errors.push({ field, detail })
    }
  }
  return { values, errors }
}

/** Takes each of `allowed` at most once, and nothing else. */
export const valuesOf = <A>(
  parameters: ReadonlyArray<RawParameter<A>>,
  allowed: ReadonlyArray<string>,
  describeUnknown: (field: string) => string
): Read<Readonly<Record<string, A>>> => {
  const errors: Array<FieldProblem> = []
  const values = new Map<string, A>()
  for (const { field, value } of parameters) {
    if (!allowed.includes(field)) errors.push({ field, detail: describeUnknown(field) })
    else if (values.has(field)) errors.push({ field, detail: "is given more than once" })
    else values.set(field, value)
  }
  return { values: Object.fromEntries(values), errors }
}

/** Says what is wrong with a name that is none of `allowed`; by `columns` a request may be filtered, too. */
export const unknownParameter = (allowed: ReadonlyArray<string>, columns: ReadonlyArray<string> = []) => {
  if (allowed.length === 0) return "is not a parameter; none is allowed here"
  const filters = columns.length > 0 ? `; filterable columns are ${someOf(columns)}` : ""
  return `is not a parameter; allowed are ${allowed.join(", ")}${filters}`
}

/** Decodes values. Each issue names its parameter. */
export const decodeValues = <A, I>(schema: Schema.Schema<A, I>, values: Readonly<Record<string, unknown>>) =>
  Either.mapLeft(ParseResult.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "error" })(values), (issue) =>
    ParseResult.ArrayFormatter.formatIssueSync(issue).map(({ path, message }): FieldProblem => ({
      field: String(path[0] ?? ""),
      detail: message
    }))
  )

/** Makes the decoder of queries that have each parameter of the schema at most once, with a value, and nothing else. */
export const queryDecoder = <A, I>(schema: Schema.Schema<A, I>) => {
  const names = SchemaAST.getPropertySignatures(SchemaAST.encodedAST(schema.ast)).map(({ name }) => String(name))
  return (url: URL): Effect.Effect<A, InvalidRequest> =>
    Effect.suspend(() => {
      const query = readQuery(url)
      const { values, errors } = valuesOf(query.values, names, () => unknownParameter(names))
      const decoded = decodeValues(schema, values)
      const problems = [...query.errors, ...errors, ...(Either.isLeft(decoded) ? decoded.left : [])]
      return problems.length > 0 ? Effect.fail(invalid(problems)) : Effect.succeed(Either.getOrThrow(decoded))
    })
}
