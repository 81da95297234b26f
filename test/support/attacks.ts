/** Generates wrong requests: wrong parameters, bodies, paths and sizes, and nonsense in the headers. */
import * as fc from "fast-check"
import { operationParameters, routesWith } from "./endpoints.ts"
import type { RawRequest } from "./raw-http.ts"

/** An id that no export has. */
export const ID = "6f1c2a34-0000-4000-8000-00000000beef"
export const bases = ["/exports", "/api/v1/exports"]

/** Each path, with the methods that it takes. */
export const routes = routesWith({ id: ID, name: "users", file: "guide.md" })

/** A wrong request, and the status that it must get. */
export interface Attack extends RawRequest {
  readonly status: number
}

/** A valid value of each parameter. */
const good: Readonly<Record<string, string>> = Object.fromEntries(
  new URLSearchParams(
    "country_code=US&subscription_tier=free&min_ltv=99.95&columns=id,name&delimiter=;&quoteChar='&total=1&limit=1" +
      "&order_by=-id&profile=rfc4180&newline=lf&bom=true&header=names&null=NULL&quote=all&formulas=keep&timezone=UTC" +
      "&datetime=iso8601&boolean=1/0&binary=hex&decimal=.&encoding=utf-8&dataset=users&id=gt.5&signup_date=lt.2030-01-01" +
      "&apiKey=k&errorRow=true&cursor=czE"
  )
)
const filterNames = ["id", "signup_date"]
const exportNames = Object.keys(good).slice(0, -3)
/** The members of a JSON body for which there are wrong values. `null` may be nearly any text. */
const memberNames = exportNames.filter((name) => !["null", "bom", ...filterNames].includes(name))
const wrong: Readonly<Record<string, ReadonlyArray<string>>> = {
  dataset: ["nothing", "public.users", "USERS", "users%20", "pg_class", "__proto__"],
  country_code: ["us", "USA", "U", "1", "U%20", "%C3%84%C3%96"],
  subscription_tier: ["gold", "FREE", "free,basic", "%66ree%20"],
  min_ltv: ["abc", "1e3", "0x10", "NaN", "1,5", "--1", "9".repeat(41), "1+1", "%2B1"],
  columns: ["id,id", "password", "*", "id,", ",", "ID", "id%20", "__proto__", "id,name,email,id"],
  delimiter: ["%22", "%0A", "%0D", "ab", "%C3%A9", "%F0%9F%91%8D"],
  quoteChar: ["%0A", "%0D", "ab", ",", "%C3%A9"],
  total: ["0", "-1", "1.5", "1e3", "ten", "9".repeat(16), "0x1"],
  limit: ["0", "-1", "1.5", "1e3", "ten", "9".repeat(16), "0x1"],
  order_by: ["id,id", "password", "*", "-", "--id", "id%20desc", "id:x", "ctid", "1", "%22id"],
  profile: ["Excel", "csv", "postgres,excel", "__proto__", "constructor"],
  newline: ["%0A", "cr", "LF"],
  bom: ["1", "yes"],
  header: ["true", "0"],
  null: ["%0A", "a%09b", "x".repeat(33), "a,b", "%22"],
  quote: ["%22", "none", "'"],
  formulas: ["drop", "true"],
  timezone: ["%2B02:00", "02:00", "Mars/Olympus", "UTC;", "'", "SYSTEM", "LOCAL"],
  datetime: ["ISO", "epoch"],
  boolean: ["T/F", "true"],
  binary: ["base32", "x"],
  decimal: [";", "comma"],
  encoding: ["UTF-8", "latin1", "utf-16le", "__proto__"],
  id: [
    "abc",
    "gt.",
    "gt.x",
    "like.1*",
    "in.1",
    "in.(1",
    "in.(1,x)",
    "EQ.5",
    "cs.5",
    "eq(any).5",
    "is.5",
    "9223372036854775808",
    "1.5",
    "eq.1e3"
  ],
  signup_date: ["yesterdayish", "gte.2024-02-30", "lt.", "ilike.2024*", "not.in.(2024-01-01,x)", "isdistinct.never"],
  cursor: ["x", "1", "s1", "LTE", "%FF", "9".repeat(500)],
  errorRow: ["1", "yes", "TRUE"],
  apiKey: ["k".repeat(257)]
}
const sql = [
  '\' or 1=1 -- | \'; drop table users; -- | " or ""=" | 1; select pg_sleep(30) | US\' union select * from pg_shadow -- | $1',
  "\\'; -- | (select 1) | id, (select passwd from pg_shadow) | 1) or (1=1 | %' -- | /**/ | ::text"
].flatMap((list) => list.split(" | ").map(encodeURIComponent))
const words = (list: string): ReadonlyArray<string> => list.split(" ")
/** Broken escapes, escapes of bytes that are not UTF-8, and NUL. */
const malformed = words("% %z %zz %0 %u0041 %ff %c0%af %ed%a0%80 %f5%80%80%80 %00 US%00 %00%00")
const text = fc.string({ unit: "grapheme", maxLength: 30 })
const oneOf = (values: ReadonlyArray<string>) => fc.constantFrom(...values)
const pair = (name: string, value = good[name]) => `${name}=${value}`

const wrongPair = (names: ReadonlyArray<string>) => {
  const known = oneOf(names)
  // Any text is an API key, and nearly any text may stand for NULL.
  const narrow = known.filter((name) => name !== "apiKey" && name !== "null")
  const single = known.filter((name) => !filterNames.includes(name))
  return fc.oneof(
    known.chain((name) => oneOf(wrong[name]!).map((value) => pair(name, value))),
    fc.tuple(narrow, oneOf(sql)).map(([name, value]) => pair(name, value)),
    fc.tuple(known, oneOf(["", ...malformed])).map(([name, value]) => pair(name, value)),
    single.map((name) => `${pair(name)}&${pair(name)}`),
    known
  )
}
const unknownNames = words("sql sort offset apikey Total columns[] __proto__ constructor total%00 %zz %ff")
const unknownPair = fc.oneof(
  oneOf(["", ...unknownNames]).map((name) => `${name}=1`),
  fc.tuple(text, text).map(([name, value]) => `x${encodeURIComponent(name)}=${encodeURIComponent(value)}`),
  oneOf(sql)
)
/** Routes with the parameters that each takes, and filters where it takes some. */
const asked = operationParameters.flatMap(({ method, path, names, isExport }) => {
  const known = [...names, ...(isExport ? filterNames : [])]
  const unknown = known.filter((name) => good[name] === undefined)
  if (unknown.length > 0) throw new Error(`no value is known of ${unknown.join(", ")}`)
  const target = path.replace("{id}", ID).replace("{name}", "users").replace("{file}", "guide.md")
  const all = Object.keys(routes).filter((route) => route === target || route === `/api/v1${target}`)
  return all.flatMap((route) =>
    routes[route]!.filter((each) => each === method || (each === "HEAD" && method === "GET")).map((each) => ({
      method: each,
      path: route,
      names: known
    }))
  )
})
const queryAttack: fc.Arbitrary<Attack> = fc.constantFrom(...asked).chain(({ path, method, names }) => {
  const wrongOne = names.length > 0 ? wrongPair(names) : oneOf(Object.keys(good)).map((name) => pair(name))
  const beside = fc.constantFrom("", ...(path.endsWith("/csv") ? ["country_code=US&"] : []))
  return fc
    .tuple(beside, fc.oneof(unknownPair, wrongOne))
    .map(([right, bad]) => ({ method, target: `${path}?${right}${bad}`, status: 400 }))
})

const brokenJson = [
  ...words('{ {\'total\':1} {total:1} {"total":1,} {"total":01} total=1 <xml/> NaN'),
  "[".repeat(60_000),
  '{"total":'.repeat(6_000)
]
const wrongTypes = [
  ...words('null true {} [] [1] [["id"]] [null] {"eq":"US"} "" "\\u0000" "\\ud800" 1e999 -1e-9'),
  `${"[".repeat(9_000)}${"]".repeat(9_000)}`
]
const body = fc.oneof(
  oneOf(brokenJson),
  text.map((junk) => `~${junk}`),
  // JSON that is no object.
  fc.oneof(
    oneOf(words('null true 0 -1.5 "total" "" []')),
    fc.array(fc.jsonValue()).map((list) => JSON.stringify(list))
  ),
  fc.tuple(text, fc.jsonValue()).map(([name, value]) => JSON.stringify({ [`x${name}`]: value })),
  oneOf(["", ...words("__proto__ constructor toString apiKey errorRow cursor")]).map((name) => `{"${name}":"1"}`),
  fc.tuple(oneOf(memberNames), oneOf(wrongTypes)).map(([name, value]) => `{"${name}":${value}}`),
  fc.tuple(oneOf(memberNames), oneOf(sql)).map(([name, value]) => JSON.stringify({ [name]: decodeURIComponent(value) })),
  fc
    .tuple(oneOf([...filterNames, "password", "ctid"]), oneOf([...wrong["id"]!.filter((value) => !value.includes("%")), "is.x"]))
    .map(([name, value]) => JSON.stringify({ where: { [name]: name === "signup_date" ? `eq.${value}` : value } })),
  oneOf(
    words(
      '[] "id" 1 {"id":{}} {"id":[[1]]} {"id":[]} {"":1} {"id":""} {"or":[]} {"or":[{}]} {"or":[1,{"id":1}]} {"id->a":1} {"not.or":"(id.eq.1)"}'
    )
  ).map((where) => `{"where":${where},"total":0}`),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.from([0xff, ...bytes]))
)
const mediaTypes = ["application/json", "Application/JSON;charset=UTF-8"]
const otherTypes = ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin1", "text/json"]
const bodyAttack: fc.Arbitrary<Attack> = fc
  .record({
    method: fc.constant("POST"),
    target: oneOf(bases).chain((base) => oneOf([base, `${base}/csv`, `${base}/estimate`])),
    type: fc.oneof({ weight: 4, arbitrary: oneOf(mediaTypes) }, oneOf(otherTypes)),
    body,
    chunked: fc.boolean()
  })
  .map(({ type, ...request }) => ({
    ...request,
    headers: { "Content-Type": type },
    status: mediaTypes.includes(type) ? 400 : 415
  }))

const traversals = words("%2e%2e ..%2f..%2f..%2fetc%2fpasswd ..%5c..%5cetc .. . %2e")
const almostIds = [ID.slice(1), `${ID}0`, ID.replace("6", "g"), ID.replaceAll("-", ""), `{${ID}}`, `${ID}%00`, `${ID};`]
const badId = fc.oneof(
  text.map((id) => encodeURIComponent(`~${id}`)),
  oneOf([...sql, ...malformed, ...traversals, ...almostIds, "x".repeat(5_000)])
)
const nowhere = [
  ...words("/ // /exports/ /exports//status /exports/csv/ /EXPORTS /api /api/v1 /api/v2/exports /.env /package.json /%00 /%zz"),
  ...words("/exports/../../etc/passwd /../../../etc/passwd /exports/%2e%2e/%2e%2e/etc/passwd /exports/..\\..\\etc\\passwd"),
  `/exports/${ID}/download/../../../../etc/passwd`,
  `/exports/${ID}/x`,
  "//evil.example/exports",
  "/\xff\xfe"
]
const pathAttack: fc.Arbitrary<Attack> = fc.oneof(
  fc
    .record({
      method: oneOf(["GET", "HEAD"]),
      base: oneOf(bases),
      id: badId,
      leaf: oneOf(["", "/status", "/download", "/events"])
    })
    .map(({ method, base, id, leaf }) => ({ method, target: `${base}/${id}${leaf}`, status: 404 })),
  fc
    .record({ method: oneOf(["GET", "POST", "PUT", "DELETE", "OPTIONS"]), target: oneOf(nowhere) })
    .map((request) => ({ ...request, status: 404 }))
)

/** Requests beyond our limits. A URL and two headers together stay below the 32 KB that the runtime reads. */
const long = fc.integer({ min: 70_000, max: 600_000 })
const longUrl = fc.integer({ min: 16_400, max: 20_000 })
const longHeader = fc.integer({ min: 1_000, max: 5_000 })
const sizeAttack: fc.Arbitrary<Attack> = fc.oneof(
  fc
    .record({ method: oneOf(["GET", "HEAD", "POST", "DELETE"]), path: oneOf(Object.keys(routes)), size: longUrl })
    .map(({ method, path, size }) => ({ method, target: `${path}?country_code=${"U".repeat(size)}`, status: 414 })),
  fc
    .record({ body: long.map((size) => `{"total":${"1".repeat(size)}}`), chunked: fc.boolean() })
    .map((request) => ({ ...request, method: "POST", target: "/exports/csv", status: 413 }))
)

/** Headers that have a meaning for some route, with nonsense as values, which is sometimes very long. */
const meaningful = words("Accept Accept-Encoding Range If-Range If-None-Match If-Modified-Since X-API-Key Cookie Last-Event-ID")
const visible = fc.integer({ min: 0x21, max: 0xff }).filter((code) => code !== 0x7f)
const nonsense = fc.dictionary(
  oneOf(meaningful),
  fc.oneof(
    fc.array(visible, { maxLength: 40 }).map((codes) => String.fromCharCode(...codes)),
    longHeader.map((size) => "a".repeat(size))
  ),
  { maxKeys: 2 }
)

export const attack: fc.Arbitrary<Attack> = fc
  .tuple(
    fc.oneof(
      { weight: 6, arbitrary: queryAttack },
      { weight: 4, arbitrary: bodyAttack },
      { weight: 3, arbitrary: pathAttack },
      { weight: 1, arbitrary: sizeAttack }
    ),
    nonsense
  )
  .map(([one, headers]) => {
    const request = { ...one, headers: { ...headers, ...one.headers } }
    return { ...request, [fc.toStringMethod]: () => JSON.stringify(request).slice(0, 2_000) }
  })
