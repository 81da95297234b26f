import { Effect, Either, ParseResult, Schema } from "effect"
import { someOf } from "../../datasets/filters/conditions.ts"
import { InvalidRequest, type FieldProblem } from "../failures.ts"

/** Problems of one request that an error lists. */
export const MAX_ERRORS = 20
/** Characters of a wrong name that an error shows. */
const MAX_NAME = 60

/** Makes an error of all that is wrong with a request: for each field the first problem. */
export const invalid = (problems: ReadonlyArray<FieldProblem>): InvalidRequest => {
  const byField = new Map<string, string>()
  for (const { field, detail } of problems) {
    const name = field.slice(0, MAX_NAME)
    if (!byField.has(name) && byField.size < MAX_ERRORS) byField.set(name, detail)
  }
  const errors = [...byField].map(([field, detail]) => ({ field, detail }))
  return new InvalidRequest({ detail: errors.map(({ field, detail }) => `${field} ${detail}`).join("; "), errors })
}

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
    if (errors.length >= MAX_ERRORS) break
  }
  return { values, errors }
}

/** Takes each of `allowed` at most once, and nothing else. */
export const valuesOf = <A>(
  parameters: ReadonlyArray<RawParameter<A>>,
  allowed: ReadonlyArray<string>,
  describeUnknown: (field: string) => string = () => unknownParameter(allowed)
): Read<Readonly<Record<string, A>>> => {
  const errors: Array<FieldProblem> = []
  const values = new Map<string, A>()
  for (const { field, value } of parameters) {
    if (!allowed.includes(field)) errors.push({ field, detail: describeUnknown(field) })
    else if (values.has(field)) errors.push({ field, detail: "is given more than once" })
    else values.set(field, value)
    if (errors.length >= MAX_ERRORS) break
  }
  return { values: Object.fromEntries(values), errors }
}

/** Reads a query that has each of `allowed` at most once, with a value, and nothing else. */
export const queryValues = (
  url: URL,
  allowed: ReadonlyArray<string>
): Effect.Effect<Readonly<Record<string, string>>, InvalidRequest> =>
  Effect.suspend(() => {
    const query = readQuery(url)
    const { values, errors } = valuesOf(query.values, allowed)
    const problems = [...query.errors, ...errors]
    return problems.length > 0 ? Effect.fail(invalid(problems)) : Effect.succeed(values)
  })

/** Says what is wrong with a name that is none of `allowed`; by `columns` a request may be filtered, too. */
export const unknownParameter = (allowed: ReadonlyArray<string>, columns: ReadonlyArray<string> = []) => {
  if (allowed.length === 0) return "is not a parameter; none is allowed here"
  const filters = columns.length > 0 ? `; filterable columns are ${someOf(columns)}` : ""
  return `is not a parameter; allowed are ${allowed.join(", ")}${filters}`
}

/** Decodes values. Each issue names its parameter. */
export const decodeValues = <A, I>(schema: Schema.Schema<A, I>, values: Readonly<Record<string, unknown>>) =>
  Either.mapLeft(Schema.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "error" })(values), (error) =>
    ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path, message }): FieldProblem => ({
      field: String(path[0] ?? ""),
      detail: message
    }))
  )

/** Decodes the values of a query with a schema over text. */
export const decode =
  <A, I>(schema: Schema.Schema<A, I>) =>
  (values: Readonly<Record<string, string>>): Effect.Effect<A, InvalidRequest> =>
    Either.mapLeft(decodeValues(schema, values), invalid)
