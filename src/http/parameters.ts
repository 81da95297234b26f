import { Effect, ParseResult, Schema } from "effect"
import type { Context } from "hono"
import { limits } from "../config.ts"
import type { Dataset } from "../datasets/dataset.ts"
import { DEFAULT_DATASET } from "../datasets/users.ts"
import { exportParameters, parameterNames, toExportSpec, type ExportSpec } from "../exports/export-spec.ts"
import { InvalidRequest, type FieldProblem } from "./problem.ts"

type Values = Readonly<Record<string, string>>

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

/** The query of a request: each of `allowed` at most once, with a value, and nothing else. */
export const queryValues = (c: Context, allowed: ReadonlyArray<string>): Effect.Effect<Values, InvalidRequest> => {
  const errors: Array<FieldProblem> = []
  const values = new Map<string, string>()
  const query = new URL(c.req.url).search.slice(1)
  for (const pair of query === "" ? [] : query.split("&")) {
    const [rawName = "", ...rest] = pair.split("=")
    const name = decodeComponent(rawName)
    const value = decodeComponent(rest.join("="))
    const field = (name ?? rawName).slice(0, 60)
    if (name === undefined || value === undefined) errors.push({ field, detail: "is not valid percent-encoded UTF-8" })
    else if (!allowed.includes(name)) errors.push({ field, detail: unknown(allowed) })
    else if (values.has(name)) errors.push({ field, detail: "is given more than once" })
    else if (value === "") errors.push({ field, detail: "is empty; leave it out or give a value" })
    else if (value.includes("\0")) errors.push({ field, detail: "holds a NUL character" })
    else values.set(name, value)
    if (errors.length >= MAX_ERRORS) break
  }
  return errors.length > 0 ? Effect.fail(invalid(errors)) : Effect.succeed(Object.fromEntries(values))
}

const MAX_ERRORS = 20
const unknown = (allowed: ReadonlyArray<string>) =>
  allowed.length === 0 ? "is not a parameter; none is allowed here" : `is not a parameter; allowed are ${allowed.join(", ")}`

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

/** What may be exported, by name. */
type Datasets = ReadonlyMap<string, Dataset>

/** The dataset that a request is for. */
const datasetNamed = (name: string | undefined, datasets: Datasets): Effect.Effect<Dataset, InvalidRequest> => {
  const dataset = datasets.get(name ?? DEFAULT_DATASET)
  return dataset
    ? Effect.succeed(dataset)
    : Effect.fail(invalid([{ field: "dataset", detail: noDataset(name, [...datasets.keys()]) }]))
}

const noDataset = (name: string | undefined, known: ReadonlyArray<string>) => {
  if (known.length === 0) return "cannot be had: nothing may be exported here"
  const more = known.length > MAX_ERRORS ? ` and ${known.length - MAX_ERRORS} more` : ""
  const list = `known are ${known.slice(0, MAX_ERRORS).join(", ")}${more}`
  return name === undefined ? `is missing; ${list}` : `must be a dataset, not ${JSON.stringify(name.slice(0, 60))}; ${list}`
}

const toSpec = (values: Values, dataset: Dataset): Effect.Effect<ExportSpec, InvalidRequest> =>
  Effect.map(decode(exportParameters(dataset))(values), (parameters) => toExportSpec(parameters, dataset))

/** The export that a query asks for, with the values of `more` parameters beside it. */
export const exportQuery = (c: Context, datasets: Datasets, more: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    const dataset = yield* datasetNamed(new URL(c.req.url).searchParams.get("dataset") ?? undefined, datasets)
    const values = yield* queryValues(c, [...parameterNames(dataset), ...more])
    return { spec: yield* toSpec(values, dataset), values } as const
  })

/** The export that a POST asks for: in its query, or in a JSON body. */
export const exportRequest = (c: Context, datasets: Datasets): Effect.Effect<ExportSpec, InvalidRequest> =>
  Effect.gen(function* () {
    const body = yield* readBody(c)
    const inQuery = new URL(c.req.url).search.length > 1
    if (body.trim() === "") return (yield* exportQuery(c, datasets)).spec
    if (inQuery) return yield* new InvalidRequest({ detail: "Parameters are in the query and in the body; use one of them" })
    const { dataset, values } = yield* bodyValues(body, datasets)
    return yield* toSpec(values, dataset)
  })

const readBody = (c: Context): Effect.Effect<string, InvalidRequest> =>
  Effect.gen(function* () {
    const tooLarge = new InvalidRequest({ status: 413, detail: `The body is larger than ${limits.bodyBytes} bytes` })
    if (Number(c.req.header("Content-Length") ?? 0) > limits.bodyBytes) return yield* tooLarge
    const chunks: Array<Uint8Array> = []
    let bytes = 0
    const complete = yield* Effect.tryPromise({
      try: async () => {
        for await (const chunk of c.req.raw.body ?? []) {
          bytes += chunk.length
          if (bytes > limits.bodyBytes) return false
          chunks.push(chunk)
        }
        return true
      },
      catch: () => new InvalidRequest({ detail: "The body ended early" })
    })
    if (!complete) return yield* tooLarge
    return yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)),
      catch: () => new InvalidRequest({ detail: "The body is not UTF-8" })
    })
  })

/** The members of a JSON object as text. Numbers keep their digits as written: 0.1 never passes through a float. */
const bodyValues = (
  body: string,
  datasets: Datasets
): Effect.Effect<{ readonly dataset: Dataset; readonly values: Values }, InvalidRequest> =>
  Effect.gen(function* () {
    const parsed: unknown = yield* Effect.try({
      try: () => JSON.parse(body, numberAsText as (key: string, value: unknown) => unknown),
      catch: () => new InvalidRequest({ detail: 'The body is not valid JSON; expected an object such as {"country_code": "US"}' })
    })
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      return yield* new InvalidRequest({ detail: 'The body must be a JSON object such as {"country_code": "US"}' })
    }
    const errors: Array<FieldProblem> = repeatedMembers(body).map((field) => ({
      field: field.slice(0, 60),
      detail: "is given more than once"
    }))
    const dataset = yield* datasetNamed(textOf((parsed as { dataset?: unknown }).dataset), datasets)
    const allowed = parameterNames(dataset)
    const values: Record<string, string> = {}
    for (const [field, value] of Object.entries(parsed)) {
      const text = textOf(value)
      if (!allowed.includes(field)) errors.push({ field: field.slice(0, 60), detail: unknown(allowed) })
      else if (text === undefined)
        errors.push({ field, detail: "must be a string or a number (columns: a list of strings, too)" })
      else if (text === "") errors.push({ field, detail: "is empty; leave it out or give a value" })
      else values[field] = text
      if (errors.length >= MAX_ERRORS) break
    }
    return errors.length > 0 ? yield* invalid(errors) : { dataset, values }
  })

/** The members that a JSON object has twice, which JSON.parse would hide. */
const repeatedMembers = (json: string): ReadonlyArray<string> => {
  const seen = new Set<string>()
  const repeated = new Set<string>()
  let depth = 0
  for (const [token, key] of json.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (key !== undefined && depth === 1) {
      const name = JSON.parse(key) as string
      if (seen.has(name)) repeated.add(name)
      seen.add(name)
    } else if (token === "{" || token === "[") depth++
    else if (token === "}" || token === "]") depth--
  }
  return [...repeated]
}

class WrittenNumber {
  constructor(readonly text: string) {}
}
const numberAsText = (_key: string, value: unknown, context: { source: string }) =>
  typeof value === "number" ? new WrittenNumber(context.source) : value

const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (value instanceof WrittenNumber) return value.text
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(",")
  return undefined
}
