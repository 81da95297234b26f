/** A table with columns of many types, and awkward values. */
import { connect, freshDatabase } from "../support/shared-service.ts"

/** Values of each column, as a client writes them. The rows are made of these and of NULL. */
const texts: ReadonlyArray<string> = [
  ...String.raw`| |a|A|ab|abc|é|😀|a,b|a"b|a'b|a\b|100%|a_b|(a)|null|NULL|true|.|eq.1|not.eq.1|in.(1)|' or 1=1 --|*|%|$1|{}|E'x'|\|a)b|"|not.|+|{a,b}|cats|a cat & a dog`.split(
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
  doc: [
    "{}",
    "[]",
    "null",
    "1",
    "1.0",
    '"x"',
    '{"a": 1, "b": ["x,y", "(z)"]}',
    '{"b":["x,y","(z)"],"a":1}',
    '{"a": "\\""}',
    '[1, "a", null, {"a": "a,b"}]',
    '{"x y": ["é", "a"], "a": {"b": "a"}}',
    '{"a": "cats and a dog"}'
  ],
  address: ["10.0.0.1", "10.0.0.1/8", "10.0.0.0/8", "::1", "::ffff:1.2.3.4"],
  email: texts.filter((text) => text !== "abc"),
  price: ["0", "1.50", "1.5", "10", "1e1"],
  feeling: moods,
  'odd "name", x': texts,
  labels: ["{}", "{a}", '{"a,b","(c)"}', '{"a\\"b",NULL}', '{"x{y}"}', "{a,b}", "{null}"],
  span: ["empty", "[1,5]", "(1,5)", "[5,10)", "(,3]", "[20,)", "[1.5,1.5]", "(,)"],
  spans: ["{}", "{[1,5)}", "{[1,3),[7,9)}", "{[20,)}", "{(,0)}"],
  words: ["", "cat", "'cat':1 'dog':2", "'a b':1,2A", "dog", "'it''s' \\\\"]
} as const
export type Name = keyof typeof pools
export const names = Object.keys(pools) as ReadonlyArray<Name>
/** The base types of the domains, to which SQL that is written by hand casts. */
export const bases: Partial<Record<Name, string>> = { email: "text", price: "numeric", feeling: "shop.mood" }

const setup = `
  create schema shop;
  create type shop.mood as enum ('sad', 'ok', 'so, so');
  create domain shop.email as text check (value <> 'abc'); create domain shop.price as numeric check (value >= 0);
  create domain shop.feeling as shop.mood;
  create table shop.things (id int primary key, count int, large bigint, amount numeric(12,2), name text, code char(4), flag boolean,
    day date, at timestamptz, key uuid, mood shop.mood, tags int[], doc jsonb, address inet, email shop.email, price shop.price,
    feeling shop.feeling, "odd ""name"", x" text, labels text[], span numrange, spans int4multirange, words tsvector, secret text);
  create table shop.canary (id int, word text); insert into shop.canary values (1, 'canary-unseen');
  create table shop.shapeless (id int, at point, doc json, found tsquery, kin regclass)`

export const ROWS = 120
/** Each column has its values in turn, and changes them at its own pace; every seventh value is NULL. */
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

/** Creates a database with the table. Returns its URL and a client. */
export const thingsDatabase = async () => {
  const url = await freshDatabase()
  const sql = await connect(url, 2)
  await sql.unsafe(setup)
  await sql`insert into shop.things select * from json_populate_recordset(null::shop.things, ${JSON.stringify(rows)}::text::json)`
  // A JSON string as it is would be another value.
  await sql`update shop.things set doc = (doc #>> '{}')::jsonb`
  return { url, sql }
}

export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
export const field = (name: string, text: string) => `${encodeURIComponent(name)}=${encodeURIComponent(text)}`
export const THINGS = "dataset=shop.things"
