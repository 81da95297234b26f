import { Effect, ParseResult, Schema } from "effect"
import type { Context } from "hono"
import { someOf } from "../../datasets/names.ts"
import { InvalidRequest, type FieldProblem } from "../failures.ts"

/** Values by the names of their fields. */
export type Values = Readonly<Record<string, string>>

export const invalid = (all: ReadonlyArray<FieldProblem>) => {
  // One entry a field: the first thing that is wrong with it.
  const errors = all.filter(({ field }, index) => all.findIndex((other) => other.field === field) === index)
  return new InvalidRequest({ detail: errors.map(({ field, detail }) => `${field} ${detail}`).join("; "), errors })
}

const decodeComponent = (text: string): string | undefined => {
  try {
    // application/x-www-form-urlencoded: a plus is a space. URLSearchParams would hide broken escapes.
    return decodeURIComponent(text.replaceAll("+", " "))
  } catch {
    return undefined
  }
}

/** Something of a request, named as the request names it. */
export interface Given {
  readonly field: string
  readonly text: string
}

/** What the runtime puts for bytes in a URL that are not UTF-8: the value would silently be another. */
const REPLACEMENT = "\ufffd"
const NOT_UTF8 = "holds U+FFFD, which stands for bytes that are not UTF-8; in a JSON body it may stand"

/** The query of a request, in its order; none of it is empty. */
export const queryPairs = (c: Context): Effect.Effect<ReadonlyArray<Given>, InvalidRequest> => {
  const errors: Array<FieldProblem> = []
  const pairs: Array<Given> = []
  const query = new URL(c.req.url).search.slice(1)
  for (const pair of query === "" ? [] : query.split("&")) {
    const [rawName = "", ...rest] = pair.split("=")
    const name = decodeComponent(rawName)
    const text = decodeComponent(rest.join("="))
    const field = (name ?? rawName).slice(0, MAX_NAME)
    if (name === undefined || text === undefined) errors.push({ field, detail: "is not valid percent-encoded UTF-8" })
    else {
      const wrong = checkText(text) ?? (text.includes(REPLACEMENT) ? NOT_UTF8 : undefined)
      if (wrong === undefined) pairs.push({ field: name, text })
      else errors.push({ field, detail: wrong })
    }
    if (errors.length >= MAX_ERRORS) break
  }
  return errors.length > 0 ? Effect.fail(invalid(errors)) : Effect.succeed(pairs)
}

/** What is wrong with any text, if something is. */
export const checkText = (text: string): string | undefined => {
  if (text === "") return "is empty; leave it out or give a value"
  if (!text.isWellFormed()) return "is not valid Unicode"
  return text.includes("\0") ? "holds a NUL character" : undefined
}

/** Takes each of `allowed` at most once, and nothing else. */
export const valuesOf = (
  given: ReadonlyArray<Given>,
  allowed: ReadonlyArray<string>,
  describeUnknown: (field: string) => string = () => unknownParameter(allowed)
): { readonly values: Values; readonly errors: ReadonlyArray<FieldProblem> } => {
  const errors: Array<FieldProblem> = []
  const values = new Map<string, string>()
  for (const { field, text } of given) {
    if (!allowed.includes(field)) errors.push({ field: field.slice(0, MAX_NAME), detail: describeUnknown(field) })
    else if (values.has(field)) errors.push({ field, detail: "is given more than once" })
    else values.set(field, text)
    if (errors.length >= MAX_ERRORS) break
  }
  return { values: Object.fromEntries(values), errors }
}

/** The query of a request: each of `allowed` at most once, with a value, and nothing else. */
export const queryValues = (c: Context, allowed: ReadonlyArray<string>): Effect.Effect<Values, InvalidRequest> =>
  Effect.flatMap(queryPairs(c), (pairs) => {
    const { values, errors } = valuesOf(pairs, allowed)
    return errors.length > 0 ? Effect.fail(invalid(errors)) : Effect.succeed(values)
  })

export const MAX_ERRORS = 20
/** Characters of a wrong name that an error shows. */
export const MAX_NAME = 60
/** What is wrong with a name that is none of `allowed`; `columns` may be filtered by beside them. */
export const unknownParameter = (allowed: ReadonlyArray<string>, columns: ReadonlyArray<string> = []) => {
  if (allowed.length === 0) return "is not a parameter; none is allowed here"
  const filters = columns.length > 0 ? `; columns that may be filtered are ${someOf(columns)}` : ""
  return `is not a parameter; allowed are ${allowed.join(", ")}${filters}`
}

/** Decodes values with a schema over text; each issue names its parameter. */
export const decode =
  <A, I>(schema: Schema.Schema<A, I>) =>
  (values: Values): Effect.Effect<A, InvalidRequest> =>
    Schema.decodeUnknown(schema, { errors: "all" })(values).pipe(
      Effect.mapError((error) =>
        invalid(
          ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path, message }) => ({
            field: path.join("."),
            detail: message
          }))
        )
      )
    )
