import { Effect, type Scope } from "effect"
import type { Context } from "hono"
import { limits } from "../../limits.ts"
import { writeName } from "../../datasets/names.ts"
import type { Filter } from "../../exports/filters.ts"
import { makeBodyWork } from "./body-work.ts"
import { checkText, MAX_ERRORS, MAX_NAME, type Given } from "./query.ts"
import { filtersOf } from "./json-where.ts"
import { isObject, parseJson, textOf } from "./json-value.ts"
import { expectJson } from "./media-type.ts"
import { InvalidRequest, type FieldProblem, type Unavailable, type UnsupportedMediaType } from "../failures.ts"
import { makeBodyReader, type Unread } from "./request-body.ts"

/** The members of a JSON object, as a query would have them, and the filters in its `where`. What is in `errors` has no text. */
interface JsonRequest {
  readonly given: ReadonlyArray<Given>
  readonly where: ReadonlyArray<Filter>
  readonly errors: ReadonlyArray<FieldProblem>
}

const readBytes = makeBodyReader(limits)

const unreadable = (unread: Unread): InvalidRequest => {
  switch (unread) {
    case "too large":
      return new InvalidRequest({ status: 413, detail: `The body is larger than ${limits.bodyBytes} bytes` })
    case "too slow":
      return new InvalidRequest({ status: 408, detail: `The body did not arrive within ${limits.bodyMs / 1000} s` })
    case "crowded out":
      return new InvalidRequest({ status: 408, detail: "The body had not arrived when others needed its room; send it again" })
    case "ended early":
      return new InvalidRequest({ detail: "The body ended early" })
  }
}

const workOn = makeBodyWork(limits)

type BodyFailure = InvalidRequest | UnsupportedMediaType | Unavailable

const readText = (c: Context): Effect.Effect<string, BodyFailure, Scope.Scope> =>
  Effect.gen(function* () {
    if (Number(c.req.header("Content-Length") ?? 0) > limits.bodyBytes) return yield* unreadable("too large")
    const bytes = yield* Effect.promise(() => readBytes(c.req.raw.body))
    if (typeof bytes === "string") return yield* unreadable(bytes)
    if (bytes.length > 0) yield* expectJson(c)
    yield* workOn(bytes.length)
    return yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
      catch: () => new InvalidRequest({ detail: "The body is not UTF-8" })
    })
  })

/**
 * The body of a request; undefined when it has none. Numbers keep their digits as written: 0.1 never passes through a float.
 * The scope is that of the work on the request.
 */
export const readJsonBody = (c: Context): Effect.Effect<JsonRequest | undefined, BodyFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const body = yield* readText(c)
    if (body.trim() === "") return undefined
    const parsed: unknown = yield* Effect.try({
      try: () => parseJson(body),
      catch: () => new InvalidRequest({ detail: 'The body is not valid JSON; expected an object such as {"country_code": "US"}' })
    })
    if (!isObject(parsed)) {
      return yield* new InvalidRequest({ detail: 'The body must be a JSON object such as {"country_code": "US"}' })
    }
    const errors: Array<FieldProblem> = repeatedMembers(body).map((field) => ({
      field: field.slice(0, MAX_NAME),
      detail: "is given more than once"
    }))
    const take = (name: string, text: string | undefined, what: string): string | undefined => {
      const detail = text === undefined ? what : checkText(text)
      if (detail !== undefined && errors.length < MAX_ERRORS) errors.push({ field: name.slice(0, MAX_NAME), detail })
      return detail === undefined ? text : undefined
    }

    const given: Array<Given> = []
    const { where = {}, ...members } = parsed
    for (const [field, value] of Object.entries(members)) {
      const isList = field === "columns" || field === "order_by"
      const what = isList ? LIST : "must be a string, a number, true or false"
      const text = take(field, isList ? listText(value, field === "order_by") : textOf(value), what)
      given.push({ field, text: text ?? "" })
    }
    if (!isObject(where)) errors.push({ field: "where", detail: 'must be an object such as {"id": "gte.100"}' })
    return { given, where: filtersOf(isObject(where) ? where : {}, take), errors }
  })

const LIST = 'must be a string, or a list of names and of objects such as {"name": "id", "label": "Number"}'

/** The members that a JSON object has twice, which JSON.parse would hide. */
const repeatedMembers = (json: string): ReadonlyArray<string> => {
  const repeated = new Set<string>()
  const objects: Array<Set<string>> = []
  for (const [token, key] of json.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (key !== undefined) {
      const name = JSON.parse(key) as string
      if (objects.at(-1)?.has(name)) repeated.add(name)
      objects.at(-1)?.add(name)
    } else if (token === "{") objects.push(new Set())
    else if (token === "}") objects.pop()
  }
  return [...repeated]
}

/** A list of columns, as a query writes it; in a JSON list, a comma is part of a name. A minus before one of an order is none. */
const listText = (value: unknown, isOrder: boolean): string | undefined => {
  if (typeof value === "string") return value
  if (!Array.isArray(value) || value.length === 0) return undefined
  const items = value.map((item: unknown) => {
    if (typeof item === "string") {
      if (!item.includes(",") || /^-?"/.test(item)) return item
      return isOrder && item.startsWith("-") ? `-${writeName(item.slice(1))}` : writeName(item)
    }
    if (!isObject(item)) return undefined
    const { name, label, ...rest } = item
    const isNamed = typeof name === "string" && (label === undefined || typeof label === "string")
    return isNamed && Object.keys(rest).length === 0 ? writeName(name, label) : undefined
  })
  return items.every((item) => item !== undefined) ? items.join(",") : undefined
}
