/**
 * PostgREST's own requests, from its tests (https://github.com/PostgREST/postgrest, MIT licence, see NOTICE.md): what can be
 * asked of Sluice gives the same rows, or is refused for a reason that stands here.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { quoted } from "../e2e/filters.fixture.ts"
import type { ProblemDocument } from "../support/client.ts"
import { forEach, requests, rowsOf, startCorpus, written, type Corpus } from "./corpus.ts"
import { filtersOf, isGroup, NotApplicable, translate, write, type SpecRequest, type Translation } from "./translate.ts"

setDefaultTimeout(60_000)

let corpus: Corpus
beforeAll(async () => {
  corpus = await startCorpus(textTable)
})
afterAll(async () => {
  expect(await corpus.service.stop()).toBe(0)
})

/** Where PostgREST has rows and Sluice refuses, and what it must say. */
const REFUSED: Readonly<Record<string, readonly [reason: string, detail: RegExp]>> = {
  "AndOrParams:65": ["a parenthesis too many, which PostgREST overlooks", /^and must be a list of filters/],
  "Range:260": ["limit=0: an export of no rows", /^limit must be a whole number from 1/]
}

/** The rows of requests whose answer is no literal in the test. */
const BY_HAND: Readonly<Record<string, string>> = {
  "AndOrParams:288": "select * from test.grandchild_entities where and_starting_col = 'smth' or or_starting_col = 'smth'",
  "Plan:475": "select * from test.tiobe_pls",
  "Plan:493": "select * from test.tiobe_pls limit 1000",
  "PreparedStatements:25": "select * from test.never_prepared",
  "Query:24": "select * from test.has_count_column",
  "Query:28": "select t from test.clashing_column",
  "Query:1152": "select * from test.items order by id",
  "Query:1254": "select * from test.simple_pk",
  "Query:1291":
    'select ":arr->ow::cast", "(inside,parens)", "a.dotted.column", "  col  w  space  " from test.pgrst_reserved_chars where "*id*" = 1',
  "Query:1435": "select * from test.items",
  "Range:150": "select * from test.items",
  "Rpc:1116": "select * from test.loc_test",
  "Singular:36": "select * from test.items where id = 5"
}

/** What has the form of an operator, and those that PostgREST has, with their modifiers. */
const FORM = /^(not\.)?[a-z]+(\([^)]*\))?\./i
const OPERATED =
  /^(not\.)?((eq|gte?|lte?|i?like|i?match)(\((any|all)\))?|neq|in|is|isdistinct|(|pl|ph|w)fts(\([\w $]+\))?|cs|cd|ov|sl|sr|nxr|nxl|adj)\./

/** A table of text, with a column for whatever any request filters by. */
const textNames = [...new Set(requests.flatMap(filtersOf).map(([name]) => name))].filter((name) => !isGroup(name))
const textTable = `
  create table test.texts (${textNames.map((name) => `${quoted(name)} text`).join(", ")});
  insert into test.texts default values`

const stream = (query: string, method = "GET") => fetch(`${corpus.service.url}/exports/csv?${query}`, { method })

const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1)

/** `equal`, `refused`, or what is wrong. */
const outcomeOf = async (request: SpecRequest, translation: Translation): Promise<string> => {
  const { at, status = 200, rows } = request
  const response = await stream(translation.query)
  const text = await response.text()
  if (response.status !== 200) {
    const { detail } = JSON.parse(text) as ProblemDocument
    if (status >= 400) return response.status < 500 ? "equal" : `fails: ${response.status} ${detail}`
    return REFUSED[at]?.[1].test(detail) === true && response.status === 400 ? "refused" : `is refused: ${detail}`
  }
  if (status >= 400) return `is answered with ${text.slice(0, 200)}`
  const query = BY_HAND[at]
  const expected = rows ?? (query === undefined ? undefined : await corpus.jsonOf(query))
  if (expected === undefined) return "has no expected rows"
  const found = written(await rowsOf(text, translation, corpus), translation.ordered)
  return found === written(expected, translation.ordered) ? "equal" : `has other rows: ${found.slice(0, 300)}`
}

describe("requests of PostgREST's tests", () => {
  test("give PostgREST's rows, or are refused with a reason: none gives other rows", async () => {
    const outcomes = new Map<string, number>()
    const without = new Map<string, number>()
    const wrong: Array<string> = []
    await forEach(requests, async (request) => {
      const translation = translate(request, corpus.catalog)
      if (translation instanceof NotApplicable) count(without, translation.reason)
      else {
        const outcome = await outcomeOf(request, translation)
        count(outcomes, outcome)
        if (outcome !== "equal" && outcome !== "refused") wrong.push(`${request.at} ${request.url} ${outcome}`)
      }
    })
    const [equal, refused] = [outcomes.get("equal") ?? 0, outcomes.get("refused") ?? 0]
    const inapplicable = [...without.values()].reduce((sum, one) => sum + one, 0)
    console.log(
      `PostgREST's ${requests.length} requests: ${equal} equal, ${refused} refused, ${inapplicable} not applicable ` +
        `(${[...without].map(([reason, number]) => `${number} ${reason}`).join(", ")})`
    )
    expect(wrong).toEqual([])
    expect(refused).toBe(Object.keys(REFUSED).length)
    expect(equal).toBeGreaterThan(300)
  })

  test("never have a filter taken for a value on columns of text", async () => {
    const distinct = new Map(requests.flatMap(filtersOf).map((filter) => [write([["dataset", "test.texts"], filter]), filter]))
    const wrong: Array<string> = []
    const statuses = new Map<number, number>()
    await forEach([...distinct], async ([query, [name, text]]) => {
      const { status } = await stream(query, "HEAD")
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      const isTakenForValue = status === 200 && !isGroup(name) && FORM.test(text) && !OPERATED.test(text)
      if (isTakenForValue || (status !== 200 && status !== 400)) wrong.push(`${status} ${name}=${text}`)
    })
    expect(wrong).toEqual([])
    expect(statuses.get(200)).toBeGreaterThan(200)
    expect(statuses.get(400)).toBeGreaterThan(40)
  })
})
