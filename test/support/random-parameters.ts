/** Generates parameters of queries and bodies: filters of the whole grammar, formats, and nonsense. */
import * as fc from "fast-check"

export const words = (list: string) => fc.constantFrom(...list.split(" "))
export const often = <A>(weight: number, arbitrary: fc.Arbitrary<A>) => ({ weight, arbitrary })
export const junk = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 20 }),
  words(
    `' " \\ ( ) (( )) , . : :: * % %% -- ; {} [] null NaN 1e400 1e131071 -0 \u202e 😀 \u0301 \ufffe 0x10 ٣ \t \r\n __proto__ constructor`
  ),
  fc.integer({ min: 100, max: 600 }).map((length) => "9".repeat(length)),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String)
)
const value = fc.oneof(
  often(
    5,
    words(
      '0 1 7 -1 100 US UK free a A ab a%25b null true false t 2024-01-01 infinity now today 99.95 1.5 {1,2} [1,2] {} {"a":1} 10.0.0.1'
    )
  ),
  often(
    1,
    words(
      "10.0.0.0/8 sad so,%20so (1,2) [2024-01-01,2024-06-01) a:*&b english 550e8400-e29b-41d4-a716-446655440000 ^a.*b$ (a|b) ((((a+)+)+)+)$"
    )
  ),
  often(2, junk)
)
const columns = words(
  "id name email signup_date country_code subscription_tier lifetime_value count large amount code flag day at key mood tags doc address" +
    ' price feeling secret n exact price coins ratio truth moment wall note fixed bytes words share "odd\x20name" ctid found kin'
)
const path = fc
  .tuple(columns, fc.array(fc.tuple(words("-> ->>"), fc.oneof(words("a b 0 1 -1 n note"), junk)), { maxLength: 3 }))
  .map(([name, steps]) => name + steps.map((step) => step.join("")).join(""))
const field = fc.oneof(often(6, columns), often(2, path), often(1, junk))
const operator = fc
  .tuple(
    words("eq neq gt gte lt lte like ilike match imatch in is isdistinct fts plfts phfts wfts cs cd ov sl sr nxl nxr adj EQ foo"),
    fc.oneof(often(8, fc.constant("")), often(1, words("(any) (all) (english) (x) ()")))
  )
  .map(([name, modifier]) => name + modifier)
const list = fc.array(value, { maxLength: 6 })
const operand = fc.oneof(
  often(5, value),
  often(
    2,
    list.map((items) => `(${items.join()})`)
  ),
  often(
    1,
    list.map((items) => `{${items.join()}}`)
  ),
  often(
    1,
    list.map((items) => `(${items.map((item) => JSON.stringify(item)).join()})`)
  )
)
const filter = fc
  .tuple(fc.oneof(often(5, fc.constant("")), often(1, words("not. not.not. NOT."))), operator, operand)
  .map(([not, name, text]) => `${not}${name}.${text}`)
/** Groups such as `(a.eq.1,or(b.gt.2,not.and(…)))`, sometimes deeper than is allowed. */
const { tree } = fc.letrec<{ tree: string; node: string }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.tuple(field, filter).map(([name, text]) => `${name}.${text}`),
    fc.tuple(words("or and not.or not.and"), tie("tree")).map((parts) => parts.join(""))
  ),
  tree: fc.array(tie("node"), { minLength: 0, maxLength: 4 }).map((nodes) => `(${nodes.join()})`)
}))
const deep = fc.integer({ min: 1, max: 40 }).map((depth) => `${"(or".repeat(depth)}(id.eq.1)${")".repeat(depth)}`)
const logic = fc.tuple(words("or and not.or not.and"), fc.oneof(often(6, tree), often(1, deep)))

const datasets = words(
  "users public.users shop.things shop.shapeless public.goods shop.recent shop.broken shop.unfilled shop.parts shop.secret nowhere pg_catalog.pg_class"
)
const order = fc.tuple(words("- +"), field, words(". .desc .asc .desc.nullslast .nullsfirst")).map(([minus, name, last]) => {
  return (minus === "-" ? minus : "") + name + (last === "." ? "" : last)
})
const listed = fc.array(
  fc.tuple(
    field,
    fc.oneof(
      often(4, fc.constant("")),
      often(
        1,
        junk.map((label) => `:${label}`)
      )
    )
  ),
  { minLength: 1, maxLength: 5 }
)
const pairs = (name: string, values: fc.Arbitrary<string>) =>
  fc.oneof(often(8, values), often(1, junk), often(1, fc.constant(""))).map((text): [string, string] => [name, text])
const parameter = fc.oneof(
  often(3, pairs("dataset", datasets)),
  often(
    2,
    pairs(
      "columns",
      listed.map((items) => items.map((item) => item.join("")).join())
    )
  ),
  often(2, pairs("order_by", fc.array(order, { minLength: 1, maxLength: 3 }).map(String))),
  often(2, pairs("total", words("1 5 100 0 -1 999999999999999"))),
  pairs("limit", words("1 10 200 1000")),
  pairs("profile", words("postgres rfc4180 excel excel-utf16 tsv csv")),
  pairs("formulas", words("keep escape escape-all")),
  pairs("delimiter", words("; | , \t '")),
  pairs("quoteChar", words("' \" |")),
  pairs("quote", words("minimal all text")),
  pairs("null", words("NULL \\N - =1")),
  pairs("newline", words("lf crlf")),
  pairs("bom", words("true false")),
  pairs("header", words("names labels none")),
  pairs("timezone", words("UTC Europe/Berlin Asia/Kolkata Mars/Olympus")),
  pairs("datetime", words("postgres iso8601 local")),
  pairs("boolean", words("t/f true/false yes/no 1/0")),
  pairs("binary", words("hex base64")),
  pairs("decimal", words(". ,")),
  pairs("encoding", words("raw utf-8")),
  pairs("country_code", words("US UK de")),
  pairs("subscription_tier", words("free gold")),
  pairs("min_ltv", words("0 99.95 1e5")),
  pairs("apiKey", words("a b c")),
  pairs("errorRow", words("true false")),
  pairs("cursor", words("czE x")),
  pairs("select", words("id *")),
  pairs("offset", words("1")),
  often(6, fc.tuple(field, fc.oneof(often(6, filter), often(1, value)))),
  often(3, logic),
  fc.tuple(junk, junk)
)
/** Mostly one dataset with some parameters, some of them twice. */
const parameters = fc
  .tuple(fc.oneof(often(5, pairs("dataset", datasets)), often(1, parameter)), fc.array(parameter, { maxLength: 5 }))
  .map(([first, rest]) => [first, ...rest])
export const encode = (text: string) => encodeURIComponent(text.toWellFormed())
export const query = fc.oneof(
  often(
    8,
    parameters.map((all) => all.map((pair) => pair.map(encode).join("=")).join("&"))
  ),
  often(1, words("% %zz & && = =1 a %00 %ff total=1&total=1")),
  often(3, fc.constant(""))
)

const jsonValue = fc.oneof(often(5, value), often(1, fc.jsonValue()), often(1, filter), often(1, fc.double().map(String)))
const { where } = fc.letrec<{ where: object }>((tie) => ({
  where: fc.oneof(
    { depthSize: "small" },
    fc.dictionary(fc.oneof(often(5, field), often(1, junk)), fc.oneof(often(5, filter), often(1, jsonValue)), { maxKeys: 3 }),
    fc.tuple(words("or and not.or not.and"), fc.array(tie("where"), { maxLength: 3 })).map(([name, nodes]) => ({ [name]: nodes }))
  )
}))
const document = fc
  .tuple(parameters, fc.option(where, { freq: 2 }))
  .map(([all, conditions]) => JSON.stringify({ ...Object.fromEntries(all), ...(conditions && { where: conditions }) }))
export const body: fc.Arbitrary<string | Uint8Array> = fc.oneof(
  often(10, document),
  often(
    1,
    fc.tuple(document, fc.nat(200)).map(([text, at]) => text.slice(0, at))
  ),
  often(1, fc.json()),
  often(1, fc.uint8Array({ maxLength: 200 })),
  often(
    1,
    fc.integer({ min: 60_000, max: 90_000 }).map((length) => `{"total":"${"1".repeat(length)}"}`)
  ),
  often(1, fc.constant(""))
)
