/** How an export is split, and the statements of its parts, as pure functions. */
import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import { byName } from "../../../src/datasets/column.ts"
import type { ExportSpec } from "../../../src/exports/export-spec.ts"
import { partsOf, planRows, type Explained, type Relation, type ExportPlan } from "../../../src/read/plan/plan.ts"
import { relationName } from "../../../src/source/identifier.ts"
import { copyStatements, quoteStatement, selectStatement, type PartRange } from "../../../src/read/sql/statement.ts"
import { columnOf, specOf, usersDataset } from "../../support/datasets.ts"

type Node = Explained["QUERY PLAN"][number]["Plan"]
type Settings = Parameters<typeof planRows>[3]

const MIB = 1 << 20
const all = specOf()
const settings: Settings = { method: "copy", sessions: 2, partBytes: MIB, partPages: 8_192 }

/** A node that gives 80 bytes of CSV a row, and of the pages of `heap` 100 rows each: 131 of them make a MiB. */
const scan = (type: string, relation?: string, rows = 100_000, width = 80): Node => ({
  "Node Type": type,
  ...(relation !== undefined && { "Relation Name": relation }),
  "Plan Rows": rows,
  "Plan Width": width
})
const seq = (relation: string, rows?: number, width?: number) => scan("Seq Scan", relation, rows, width)
const append = (...nodes: ReadonlyArray<Node>): Node => ({ ...scan("Append"), Plans: nodes })

const identity = { oid: "1", root: "2" }
/** `stored`: bytes, TOAST included, for each of the table. */
const heap = (table: string, change: Partial<Relation> = {}, stored = 1): Relation => {
  const pages = change.pages ?? 1_000
  return {
    ...identity,
    schema: "public",
    table,
    hasPages: true,
    isSameAlone: true,
    isForeign: false,
    pages,
    bytes: pages * 8_192 * stored,
    ...change
  }
}
const table = heap("users")
const notPaged = heap("users", { hasPages: false })
const notDirect = { isSameAlone: false }
const [us, de, fr] = [heap("us"), heap("de"), heap("fr")]
const three = append(seq("us"), seq("de"), seq("fr"))

type Planned = readonly [plan: Node, relations: ReadonlyArray<Relation>, change?: Partial<Settings>, spec?: ExportSpec]
const planned = (...[plan, relations, change, spec = all]: Planned): ExportPlan =>
  planRows(spec, { "QUERY PLAN": [{ Plan: plan }] }, relations, { ...settings, ...change })

const scansOf = ({ split }: ExportPlan) => (split.kind === "scans" ? split.scans : [])

describe("an export is one part, the query of its dataset as it is, for", () => {
  const limit: Node = { ...scan("Limit", undefined, 7), Plans: [seq("users")] }
  test.each<readonly [string, Planned, string]>([
    ["a cursor", [seq("users"), [table], { method: "cursor" }], "a cursor reads in one part"],
    ["one session", [seq("users"), [table], { sessions: 1 }], "one session"],
    ["a total", [limit, [table], {}, { ...all, total: 7 }], "a total"],
    ["an index scan", [scan("Index Scan", "users"), [table]], "the plan is an Index Scan"],
    ["an index only scan", [scan("Index Only Scan", "users"), [table]], "the plan is an Index Only Scan"],
    ["a bitmap heap scan", [scan("Bitmap Heap Scan", "users"), [table]], "the plan is a Bitmap Heap Scan"],
    ["a scan that an extension brings", [scan("Custom Scan", "users"), [table]], "the plan is a Custom Scan"],
    ["a view with a limit", [limit, [notPaged]], "the plan is a Limit"],
    ["a filter that excludes all rows", [scan("Result", undefined, 0), [table]], "the plan is a Result"],
    ["a foreign table", [scan("Foreign Scan", "users"), [heap("users", { isForeign: true })]], "public.users is foreign"],
    ["a view of another table", [seq("accounts"), [notPaged]], "the plan is a Seq Scan"],
    ["a view of a table of its own name", [seq("users"), [notPaged]], "the plan is a Seq Scan"],
    ["no relation in the catalog", [seq("users"), []], "the plan is a Seq Scan"],
    ["row security", [seq("users"), [heap("users", notDirect)]], "public.users shows other rows by itself"],
    ["a small table", [seq("users", 200), [heap("users", { pages: 2 })]], "small"],
    ["two parts, which is not worth it", [seq("users", 20_000), [table]], "small"],
    ["an empty table", [seq("users", 0), [heap("users", { pages: 0 })]], "small"],
    ["an append of nothing", [append(), [us]], "small"],
    ["two small partitions", [append(seq("us", 9), seq("de", 9)), [heap("us", { pages: 1 }), heap("de", { pages: 1 })]], "small"],
    [
      "a foreign partition",
      [append(seq("us"), scan("Foreign Scan", "de")), [us, heap("de", { isForeign: true })]],
      "public.de is foreign"
    ],
    [
      "a partition that shows other rows by itself",
      [three, [us, de, heap("fr", notDirect)]],
      "public.fr shows other rows by itself"
    ],
    ["partitions of one name", [append(seq("us"), seq("us")), [us, heap("us", { schema: "other" })]], "the plan is an Append"],
    ["a partition that was added meanwhile", [three, [us, de]], "the plan is an Append"],
    ["a subquery among partitions", [append(seq("us"), seq("de"), scan("Subquery Scan")), [us, de]], "the plan is an Append"]
  ])("for %s", (_, args, reason) => {
    const plan = planned(...args)
    const { "Plan Rows": estimatedRows, "Plan Width": rowWidth } = args[0]
    expect(plan).toEqual({
      method: args[2]?.method ?? "copy",
      split: { kind: "single" },
      parts: 1,
      reason,
      estimatedRows,
      rowWidth
    })
    expect([...partsOf(plan)]).toEqual([{ kind: "single" }])
  })
})

test.each([
  [100, 7, 7],
  [5, 7, 5]
])("of %d rows that the planner expects, a total of %d leaves %d", (rows, total, expected) => {
  expect(planned(scan("Limit", undefined, rows), [table], {}, { ...all, total }).estimatedRows).toBe(expected)
})

describe("an export is split for", () => {
  const far = heap("far", { isForeign: true, isSameAlone: false })
  const large = heap("users", { pages: 100_000 })
  /** The scans as `table pagesPerPart/pages`, and their parts. */
  test.each<readonly [string, Planned, string, number]>([
    ["a table", [seq("users"), [table]], "users 131/1000", 8],
    ["a table in another schema", [seq("users"), [heap("users", { schema: "other" })]], "other.users 131/1000", 8],
    ["a filter that leaves half", [seq("users", 50_000), [table], {}, specOf({ min_ltv: "1" })], "users 262/1000", 4],
    ["a filter that leaves next to nothing, at partPages", [seq("users", 1), [large]], "users 8192/100000", 13],
    ["a table in three parts, the fewest", [seq("users", 30_000), [table]], "users 437/1000", 3],
    ["a table of narrower rows", [seq("users", 100_000, 40), [table]], "users 262/1000", 4],
    ["a table into parts of a page", [seq("users"), [table], { partBytes: 8_000 }], "users 1/1000", 1_000],
    ["a table into no less than a page", [seq("users"), [table], { partBytes: 1 }], "users 1/1000", 1_000],
    ["a table with ten times its size in TOAST", [seq("users"), [heap("users", {}, 11)]], "users 13/1000", 77],
    ["a table with a thousand times its size in TOAST", [seq("users"), [heap("users", {}, 1_001)]], "users 1/1000", 1_000],
    ["the one partition that a filter leaves", [seq("de"), [us, de, fr]], "de 131/1000", 8],
    ["a partitioned table, as the planner appends it", [three, [fr, de, us]], "us 131/1000, de 131/1000, fr 131/1000", 24],
    ["the partitions that a filter leaves", [append(seq("us"), seq("fr")), [us, de, fr, far]], "us 131/1000, fr 131/1000", 16],
    [
      "not the partition that is read by an index",
      [append(seq("us"), scan("Index Scan", "de"), scan("Bitmap Heap Scan", "fr")), [us, de, fr]],
      "us 131/1000, de whole/1000, fr whole/1000",
      10
    ],
    [
      "not the partition without pages to ask for, nor an empty one",
      [append(seq("us"), seq("de"), seq("fr", 0)), [us, heap("de", { hasPages: false }), heap("fr", { pages: 0 })]],
      "us 131/1000, de whole/1000, fr 8192/0",
      10
    ]
  ])("%s", (_, args, scans, parts) => {
    const plan = planned(...args)
    const shown = scansOf(plan).map((one) =>
      `${one.schema}.${one.table} ${one.pagesPerPart ?? "whole"}/${one.pages}`.replace("public.", "")
    )
    const reason = shown.length > 1 ? "partitions and ranges of pages" : "ranges of pages"
    expect(shown.join(", ")).toBe(scans)
    expect(plan).toMatchObject({ method: "copy", parts, reason, estimatedRows: args[0]["Plan Rows"] })
  })
})

const tables = fc
  .array(
    fc.record({
      type: fc.constantFrom("Seq Scan", "Seq Scan", "Index Scan"),
      rows: fc.oneof(fc.nat(3), fc.nat(10_000_000)),
      width: fc.nat(2_000),
      pages: fc.oneof(fc.nat(3), fc.nat(5_000)),
      toast: fc.oneof(fc.constant(0), fc.nat(1 << 30)),
      hasPages: fc.constantFrom(true, true, false)
    }),
    { minLength: 1, maxLength: 5 }
  )
  .map((list) => list.map((entry, at) => ({ ...entry, name: `t${at}` })))
const sizes = fc.record({ partBytes: fc.integer({ min: 1, max: 4 * MIB }), partPages: fc.integer({ min: 1, max: 10_000 }) })

test("the parts of any plan cover each page of its relations once, in order, to an open end, and their number is that of the plan", () => {
  let split = 0
  fc.assert(
    fc.property(tables, sizes, (list, change) => {
      const nodes = list.map(({ type, name, rows, width }) => scan(type, name, rows, width))
      const relations = list.map(({ name, pages, toast, hasPages }) =>
        heap(name, { pages, hasPages, bytes: pages * 8_192 + toast })
      )
      const plan = planned(nodes.length === 1 ? nodes[0]! : append(...nodes), relations, change)
      const parts = [...partsOf(plan)]
      expect(parts.length).toBe(plan.parts)
      if (plan.split.kind === "single") {
        expect(parts).toEqual([{ kind: "single" }])
        return
      }
      split++
      let at = 0
      for (const { type, name, pages, hasPages } of list) {
        const relation = { ...identity, schema: "public", table: name }
        if (type !== "Seq Scan" || !hasPages) {
          expect(parts[at++]).toEqual({ ...relation, kind: "relation" })
          continue
        }
        for (let from = 0, open = false; !open;) {
          const part = parts[at++]!
          if (part.kind !== "pages") throw new Error(`a part is a ${part.kind}`)
          expect(part).toEqual({ ...relation, kind: "pages", from, to: part.to })
          const to = part.to ?? Math.max(pages, from + 1)
          open = part.to === undefined
          // A range is neither empty nor beyond the pages, unless there is no page.
          expect(to > from && (to < pages || open) && to - from <= Math.max(1, change.partPages)).toBe(true)
          from = to
          if (open) expect(from).toBe(Math.max(1, pages))
        }
      }
      expect(at).toBe(parts.length)
    }),
    { numRuns: 500 }
  )
  expect(split).toBeGreaterThan(100)
})

test("parts are made one at a time, for a table of any size", () => {
  const plan = planned(seq("users", 1e12), [heap("users", { pages: 2 ** 32 - 1, bytes: 2 ** 45 })])
  const parts = partsOf(plan)
  expect(plan.parts).toBeGreaterThan(10_000_000)
  expect([...parts.take(2)]).toMatchObject([
    { kind: "pages", from: 0, to: 56 },
    { kind: "pages", from: 56, to: 112 }
  ])
})

/** A part fails if the name or the rights are not those of the plan any more. */
const ifPlanned = (value: string, type: string) =>
  [
    `(select case when to_regclass('"a ""b"."c.d"')::oid = 1::oid and not row_security_active(1::oid) and not row_security_active(2::oid)`,
    `then ${value} else concat('sluice: replaced by ', to_regclass('"a ""b"."c.d"')::oid)::${type} end)`
  ].join(" ")

describe("the statement of an export", () => {
  const odd = { ...usersDataset, columns: byName([...usersDataset.columns.values(), columnOf('a "b', ["text", "text", "S"])]) }
  const filters = [
    ["subscription_tier", "o'ne"],
    ["lifetime_value", "gte.3"],
    ["country_code", "US"]
  ] as const
  const spec = specOf({ columns: 'id,"a ""b"', total: "9" }, odd, filters)
  const idOnly = specOf({ columns: "id" })

  test("binds its values in the order of their columns, the total last", () => {
    expect(selectStatement(spec, odd)).toEqual({
      text:
        'select "id", "a ""b" from "public"."users" where "country_code" = $1::text::bpchar and "lifetime_value" >= $2::text::numeric' +
        ' and "subscription_tier" = $3::text::text limit $4::text::bigint',
      values: ["US", "3", "o'ne", "9"]
    })
    expect(selectStatement(idOnly, usersDataset)).toEqual({
      text: 'select "id" from "public"."users"',
      values: []
    })
  })

  test("asks the server to write its values as literals, in one row each", () => {
    expect(quoteStatement(selectStatement(spec, odd))).toEqual({
      text: "select quote_literal(value) as literal from json_array_elements_text($1::text::json) with ordinality order by ordinality",
      values: [JSON.stringify(["US", "3", "o'ne", "9"])]
    })
  })

  test("has literals as COPY where a query has bound values", () => {
    expect(copyStatements(spec, odd, ["'US'", "'3'", "'o''ne'", "'9'"])({ kind: "single" })).toBe(
      'copy (select "id", "a ""b" from "public"."users" where "country_code" = \'US\'::text::bpchar' +
        " and \"lifetime_value\" >= '3'::text::numeric and \"subscription_tier\" = 'o''ne'::text::text limit '9'::text::bigint)" +
        " to stdout (format csv, delimiter ',', quote '\"', escape '\"')"
    )
  })

  const part = { ...identity, schema: 'a "b', table: "c.d" }
  const keys = { column: "id", from: 7n, to: 9n }
  test.each<readonly [string, PartRange, string]>([
    ["the whole dataset", { kind: "single" }, 'from "public"."users" where "lifetime_value" >= 1::text::numeric'],
    [
      "a relation",
      { ...part, kind: "relation" },
      `from only "a ""b"."c.d" where "lifetime_value" >= 1::text::numeric and ${ifPlanned("true", "boolean")}`
    ],
    [
      "pages",
      { ...part, kind: "pages", from: 131, to: 262 },
      `from only "a ""b"."c.d" where "lifetime_value" >= 1::text::numeric and ctid >= ${ifPlanned("'(131,0)'", "tid")} and ctid < '(262,0)'`
    ],
    [
      "the last pages",
      { ...part, kind: "pages", from: 262, to: undefined },
      `from only "a ""b"."c.d" where "lifetime_value" >= 1::text::numeric and ctid >= ${ifPlanned("'(262,0)'", "tid")}`
    ],
    [
      "keys",
      { ...part, kind: "keys", ...keys },
      `from only "a ""b"."c.d" where "lifetime_value" >= 1::text::numeric and "id" >= ${ifPlanned("7", "bigint")} and "id" < 9`
    ],
    [
      "the first keys",
      { ...part, kind: "keys", ...keys, from: undefined },
      `from only "a ""b"."c.d" where "lifetime_value" >= 1::text::numeric and "id" < ${ifPlanned("9", "bigint")}`
    ]
  ])("as COPY of %s", (_, of, from) => {
    const filtered = specOf({ columns: "id", min_ltv: "1" })
    expect(copyStatements(filtered, usersDataset, ["1"])(of)).toBe(
      `copy (select "id" ${from}) to stdout (format csv, delimiter ',', quote '"', escape '"')`
    )
  })

  test("needs no filter as COPY of a range of pages", () => {
    const pages = { ...part, kind: "pages", from: 0, to: undefined } as const
    expect(copyStatements(idOnly, usersDataset, [])(pages)).toContain(
      `(select "id" from only "a ""b"."c.d" where ctid >= ${ifPlanned("'(0,0)'", "tid")})`
    )
  })

  test.each([
    ["'", "\\", "delimiter '''', quote '\\', escape '\\'"],
    ["\\", "'", "delimiter '\\', quote '''', escape ''''"],
    ["\t", ")", "delimiter '\t', quote ')', escape ')'"]
  ])("as COPY writes the delimiter %p and the quote %p as literals", (delimiter, quote, options) => {
    expect(copyStatements(specOf({ delimiter, quoteChar: quote }), usersDataset, [])({ kind: "single" })).toEndWith(
      ` to stdout (format csv, ${options})`
    )
  })

  test("quotes a relation, whatever its name is", () => {
    expect(relationName({ schema: 'a"; drop', table: '""' })).toBe('"a""; drop".""""""')
  })
})
