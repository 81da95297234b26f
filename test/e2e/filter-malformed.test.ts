/** Broken, deep or long trees of filters are a 400, quickly. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { jsonPost } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { someTrees } from "./filter-arbitraries.ts"
import { isGroup, listText } from "./filter-model.ts"
import { field, THINGS, thingsDatabase } from "./filters.fixture.ts"

setDefaultTimeout(60_000)
/** The longest time of a request that only the parsers work on. */
const QUICK_MS = 100

let service: Service
beforeAll(async () => {
  const { url } = await thingsDatabase()
  service = await startService({ RATE_LIMIT_MAX: "10000", DATABASE_URL: url, EXPORT_DATASETS: "shop.things" })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const get = (query: string) => fetch(`${service.url}/exports/csv?${THINGS}&${query}`)
const post = (where: string) => fetch(`${service.url}/exports/csv`, jsonPost(`{"dataset":"shop.things","where":${where}}`))

/** Returns the status, and the shortest time of a few tries, since a busy machine does not make the parser slow. */
const measured = async (ask: () => Promise<Response>) => {
  let least = Number.POSITIVE_INFINITY
  let status = 0
  for (let attempt = 0; attempt < 3 && least >= QUICK_MS; attempt++) {
    const start = performance.now()
    const response = await ask()
    await response.text()
    least = Math.min(least, performance.now() - start)
    ;({ status } = response)
  }
  return { status, isQuick: least < QUICK_MS }
}

/** Makes a text as long as a URL may be, if each of its characters takes three. */
const fill = (unit: string, before = "", after = "") => {
  const length = limits.urlChars - 200 - encodeURIComponent(before + after).length
  return before + unit.repeat(Math.floor(length / encodeURIComponent(unit).length)) + after
}

/** Fills a body with nested JSON. */
const nested = (open: string, close: string, inner: string) => {
  const depth = Math.floor((limits.bodyBytes - 100) / (open.length + close.length))
  return open.repeat(depth) + inner + close.repeat(depth)
}

describe("a malformed filter is a 400 within 100 ms", () => {
  test.each<[what: string, name: string, text: string]>([
    ["parentheses that open", "or", fill("(")],
    ["parentheses that close", "or", fill(")", "(id.eq.1")],
    ["groups in groups", "or", fill("or(", "(")],
    ["groups in groups, negated and spaced", "and", fill("not.and ( ", "(")],
    ["lists of lists", "or", fill("id.in.((", "(")],
    ["more filters than are allowed", "or", fill("id.eq.1,", "(", "id.eq.1)")],
    ["more values than are allowed", "id", `in.(${Array.from({ length: 2_000 }, (_, id) => id).join(",")})`],
    ["quotes", "or", fill('"', "(name.eq.")],
    ["quotes that do not end a value", "or", fill('"a', "(name.eq.")],
    ["a quote that nothing closes", "or", fill("a", '(name.eq."')],
    ["escapes that nothing ends", "or", fill("\\", '(name.eq."')],
    ["escaped quotes", "or", fill('\\"', '(name.eq."')],
    ["quoted items that nothing ends", "name", fill('"a",', "in.(")],
    ["items with quotes inside", "name", fill('"a,', "in.(")],
    ["an array without end", "name", fill("a ", "eq(any).{")],
    ["an array of blanks", "name", fill(" ", "eq(any).{a")],
    ["an array of quotes", "name", fill('"a" ', "like(any).{")],
    ["braces", "labels", fill("{", "cs.")],
    ["braces in a tree", "or", fill("{", "(labels.cs.")],
    ["blanks", "or", fill(" ", "(", "x)")],
    ["commas", "or", fill(",", "(", ")")],
    ["dots", "or", fill(".", "(id", ")")],
    ["not of not", "or", fill("not.", "(id.", "eq.1)")],
    ["a path without end", "or", fill("->", "(doc")],
    ["arrows in a name", fill("->", "doc"), "eq.1"],
    ["a path with quotes", fill('->"', "doc"), "eq.1"],
    ["an operator that goes on", "name", fill("a", "", "(x).y")],
    ["a language that goes on", "name", fill("(", "fts(a")],
    ["digits", "amount", fill("1", "gt.")],
    ["numbers with exponents", "amount", fill("1e1", "gt.")],
    ["numbers in an array", "tags", fill("1e9,", "cs.{", "1}")],
    ["items of an order", "order_by", fill("name.desc.", "", "nulls")],
    ["arrows of an order", "order_by", fill("->a", "doc", ".x")],
    ["quotes in columns", "columns", fill('"', "id")],
    ["a repeated group without end", fill("not.", "", "or"), "(id.eq.1)"]
  ])("%s", async (_, name, text) => {
    expect(await measured(() => get(field(name, text)))).toEqual({ status: 400, isQuick: true })
  })

  test.each<[what: string, where: string]>([
    ["groups in groups", nested('{"or":[', "]}", '{"id":1}')],
    ["negated groups in groups", nested('{"not.and":[', "]}", "{}")],
    ["lists in lists", `{"or":${nested("[", "]", "")}}`],
    ["lists of a column", `{"id":${nested("[", "]", "1")}}`],
    ["objects of a column", `{"id":${nested('{"id":', "}", "1")}}`],
    ["groups that nothing ends", '{"or":['.repeat(8_000)],
    ["more filters than are allowed", `{"or":[${Array.from({ length: 5_000 }, () => '{"id":1}').join(",")}]}`],
    ["empty groups", `{"or":[${Array.from({ length: 10_000 }, () => "{}").join(",")}]}`],
    ["a tree as text", JSON.stringify({ or: "(".repeat(20_000) })],
    ["a value of quotes", JSON.stringify({ amount: `in.(${'"'.repeat(20_000)}` })],
    ["a path of arrows", JSON.stringify({ [`doc${"->".repeat(15_000)}`]: "eq.1" })],
    ["a key of quotes", JSON.stringify({ [`doc->>"${'\\"'.repeat(10_000)}`]: "eq.1" })]
  ])("in a body: %s", async (_, where) => {
    expect(await measured(() => post(where))).toEqual({ status: 400, isQuick: true })
  })

  test("a filter that is longer than any request may be is 414 in a query and 413 in a body", async () => {
    expect((await get(field("or", "(".repeat(20_000)))).status).toBe(414)
    expect((await post(JSON.stringify({ or: "(".repeat(70_000) }))).status).toBe(413)
  })
})

test("a tree of filters with characters added or removed gives the right rows or a 400", async () => {
  const signs = [
    ...'()",.\\{}[]:;*% \t\n\u00a0é'.split(""),
    "😀",
    "->",
    "->>",
    "not.",
    "or(",
    "and(",
    ".in.(",
    "(any)",
    '""',
    "''",
    "--",
    "\ud800",
    "\0"
  ]
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat({ max: 3 }),
    sign: fc.constantFrom("", ...signs)
  })
  const broken = fc.tuple(someTrees, fc.array(edit, { minLength: 1, maxLength: 3 })).map(([trees, edits]) => {
    const group = trees.find(isGroup)!
    return edits.reduce((text, { at, cut, sign }) => {
      const place = Math.floor(at * text.length)
      return text.slice(0, place) + sign + text.slice(place + cut)
    }, listText(group))
  })
  const statuses = new Map<number, number>()
  const check = async (text: string) => {
    const { status } = await get(field("or", text.toWellFormed()))
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    expect([200, 400]).toContain(status)
  }
  await fc.assert(
    fc.asyncProperty(fc.array(broken, { minLength: 4, maxLength: 4 }), async (all) => void (await Promise.all(all.map(check)))),
    { numRuns: Math.ceil(Number(process.env["MALFORMED"] ?? 120) / 4), endOnFailure: true }
  )
  expect(statuses.get(400)).toBeGreaterThan(20)
})
