/** A table of columns of many types with awkward values, and filters on it, with the SQL that one would write for them by hand. */
import * as fc from "fast-check"
import { connect, freshDatabase } from "../support/shared.ts"

/** Values of each column, as a client writes them; rows are made of them, too, and of NULL. */
const texts: ReadonlyArray<string> = [
  ...String.raw`| |a|A|ab|abc|é|😀|a,b|a"b|a'b|a\b|100%|a_b|(a)|null|NULL|true|.|eq.1|not.eq.1|in.(1)|' or 1=1 --|*|%|$1|{}|E'x'|\|a)b|"|not.|+`.split(
    "|"
  ),
  "a\nb",
  "\r\n"
]
const numbers = ["0", "-0", "1", "+1", "007", " 5 ", "100", "-100", "2147483647"]
const moments = [
  "2024-01-01 23:30:00+02",
  "2024-01-01T21:30:00Z",
  "2024-02-29",
  "infinity",
  "-infinity",
  "1999-12-31 23:59:59.999999+00"
]
const moods = ["sad", "ok", "so, so"]
export const pools = {
  count: numbers,
  large: [...numbers, "9007199254740993", "9223372036854775807", "-9223372036854775808"],
  amount: [...numbers, "0.1", "0.10", "-0.00", "1e2", "NaN", "99.95"],
  name: texts,
  code: ["", "a", "a ", "ab", "abcd", "é", "%", "a'b", '"'],
  flag: ["t", "true", "yes", "on", "1", "f", "false", "no", "0"],
  day: ["2024-02-29", "2024-03-01", "infinity", "-infinity", "20240229", "Feb 29 2024"],
  at: moments,
  key: ["550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000", "{00000000000000000000000000000000}"],
  mood: moods,
  tags: ["{}", "{1}", "{1,NULL,3}", "{{1,2},{3,4}}", " { 1 , 2 } "],
  doc: ["{}", "[]", "null", "1", "1.0", '"x"', '{"a": 1, "b": ["x,y", "(z)"]}', '{"b":["x,y","(z)"],"a":1}', '{"a": "\\""}'],
  address: ["10.0.0.1", "10.0.0.1/8", "10.0.0.0/8", "::1", "::ffff:1.2.3.4"],
  email: texts.filter((text) => text !== "abc"),
  price: ["0", "1.50", "1.5", "10", "1e1"],
  feeling: moods,
  'odd "name", x': texts
} as const
type Name = keyof typeof pools
export const names = Object.keys(pools) as ReadonlyArray<Name>
export const patterned = new Set<string>(["name", "code", "email", 'odd "name", x'])
/** Domains, which a comparison by hand takes off. */
const bases: Partial<Record<Name, string>> = { email: "text", price: "numeric", feeling: "shop.mood" }

const setup = `
  create schema shop;
  create type shop.mood as enum ('sad', 'ok', 'so, so');
  create domain shop.email as text check (value <> 'abc'); create domain shop.price as numeric check (value >= 0);
  create domain shop.feeling as shop.mood;
  create table shop.things (id int primary key, count int, large bigint, amount numeric(12,2), name text, code char(4), flag boolean,
    day date, at timestamptz, key uuid, mood shop.mood, tags int[], doc jsonb, address inet, email shop.email, price shop.price,
    feeling shop.feeling, "odd ""name"", x" text, secret text);
  create table shop.canary (id int, word text); insert into shop.canary values (1, 'canary-unseen');
  create table shop.shapeless (id int, at point, doc json, found tsquery, kin regclass)`

export const ROWS = 120
/** Each column takes its values in turn, at a pace of its own; every seventh is NULL. */
const rows = Array.from({ length: ROWS }, (_, id) => ({
  id,
  secret: `canary-${id}`,
  ...Object.fromEntries(
    names.map((name, nth) => {
      const at = id * (nth + 1) + nth
      return [name, at % 7 === 0 ? null : pools[name][at % pools[name].length]]
    })
  )
}))

/** A database with them, and a client of it. */
export const thingsDatabase = async () => {
  const url = await freshDatabase()
  const sql = await connect(url, 2)
  await sql.unsafe(setup)
  await sql`insert into shop.things select * from json_populate_recordset(null::shop.things, ${JSON.stringify(rows)}::text::json)`
  return { url, sql }
}

export interface Filter {
  readonly name: Name
  readonly not: boolean
  readonly operator: string
  readonly values: ReadonlyArray<string>
  /** Written without its operator, which is eq. */
  readonly bare: boolean
}

const SYMBOLS: Readonly<Record<string, string>> = { eq: "=", neq: "<>", gt: ">", gte: ">=", lt: "<", lte: "<=" }
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

/** A filter as one would write it by hand: literals without a type, no IN, no IS DISTINCT FROM, no NOT. */
export const byHand = ({ name, not, operator, values }: Filter): string => {
  const column = quoted(name) + (bases[name] ? `::${bases[name]}` : "")
  const [value = ""] = values
  const positive = (): string => {
    if (operator === "in") return `(${values.map((one) => `${column} = ${literal(one)}`).join(" or ")})`
    if (operator === "isdistinct") return `(${column} is null or ${column} <> ${literal(value)})`
    if (operator === "like" || operator === "ilike") return `${column} ${operator} ${literal(value.replaceAll("*", "%"))}`
    if (operator === "is") return `(${column} is ${value.replace("_", " ")})`
    return `${column} ${SYMBOLS[operator]} ${literal(value)}`
  }
  return not ? `(${positive()}) is false` : positive()
}

export const listItem = (value: string) =>
  /[",()\\]/.test(value) || value.length % 2 === 0 ? `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"` : value
export const filterText = ({ not, operator, values, bare }: Filter): string =>
  bare ? values[0]! : `${not ? "not." : ""}${operator}.${operator === "in" ? `(${values.map(listItem).join(",")})` : values[0]}`

const looksOperated = (text: string) => text === "" || /^[a-z_]+(\([^()]*\))?\./i.test(text)

export const aFilter: fc.Arbitrary<Filter> = fc.constantFrom(...names).chain((name) => {
  const compared = [...Object.keys(SYMBOLS), "in", "isdistinct", "is"]
  const operators = patterned.has(name) ? [...compared, "like", "ilike"] : compared
  return fc.constantFrom(...operators).chain((operator) => {
    const value = fc.constantFrom<string>(...pools[name])
    // What ends in a backslash is no pattern, and is refused elsewhere.
    const part = value.filter((text) => !text.includes("\\"))
    const pattern = fc
      .tuple(fc.constantFrom("", "*", "%", "_", "\\%"), part, fc.constantFrom("", "*", "\\\\"))
      .map((parts) => parts.join(""))
    const state = fc.constantFrom("null", "not_null", ...(name === "flag" ? ["true", "false", "unknown"] : []))
    const one = operator === "is" ? state : operator.endsWith("like") ? pattern : value
    const values = fc.array(one, { minLength: 1, maxLength: operator === "in" ? 4 : 1 })
    return fc.record({ values, not: fc.boolean(), maybe: fc.boolean() }).map(({ values: chosen, not, maybe }) => ({
      name,
      not,
      operator,
      values: chosen,
      bare: maybe && operator === "eq" && !not && !looksOperated(chosen[0]!)
    }))
  })
})
/** A bare value cannot be one of several in a query. */
export const someFilters = fc
  .array(aFilter, { minLength: 1, maxLength: 3 })
  .filter((filters) => filters.every(({ name, bare }) => !bare || filters.filter((other) => other.name === name).length === 1))

export const field = (name: string, text: string) => `${encodeURIComponent(name)}=${encodeURIComponent(text)}`
export const THINGS = "dataset=shop.things"

/** Values of JSON, where a client has such: digits as they are, truth, null. */
const jsonText = (filter: Filter): string => {
  const text = filterText(filter)
  if (filter.operator === "is" && filter.values[0] === "null" && !filter.not) return "null"
  if (filter.bare && /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text)) return text
  return filter.bare && (text === "true" || text === "false") ? text : JSON.stringify(text)
}
export const whereOf = (filters: ReadonlyArray<Filter>): string => {
  const byName = Map.groupBy(filters, ({ name }) => name)
  const members = [...byName].map(([name, own]) => {
    const values = own.map(jsonText)
    return `${JSON.stringify(name)}:${values.length > 1 ? `[${values.join(",")}]` : values[0]}`
  })
  return `{${members.join(",")}}`
}
