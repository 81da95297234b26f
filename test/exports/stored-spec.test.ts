/** Specs as this version and those before it have stored them. Each is kept here as its text stood in the database. */
import { expect, test } from "bun:test"
import { Effect } from "effect"
import { fromStoredFormat, fromStoredSpec, toStoredSpec, type ExportSpec } from "../../src/exports/export-spec.ts"
import { profiles } from "../../src/formats/csv/csv-format.ts"
import { specOf } from "../support/datasets.ts"

const FORMAT_1 =
  '{"type":"csv","encoding":"utf-8","bom":false,"header":"names","delimiter":",","quote":"\\"","quoting":"minimal","null":"",' +
  '"newline":"lf","formulas":"keep","longNumbers":"keep","timezone":"UTC","datetime":"postgres","boolean":"t/f","binary":"hex","decimal":"."}'

const conditions = [
  { column: "country_code", not: false, operator: "in", values: ["UK", "US"] },
  { column: "lifetime_value", not: true, operator: "gte", values: ["99.95"] }
] as const
const plain: ExportSpec = {
  dataset: "users",
  columns: [{ name: "id", type: "bigint" }],
  conditions,
  order: [{ column: "id", descending: true }],
  total: 10,
  format: profiles.postgres
}
const CONDITIONS =
  '[{"column":"country_code","not":false,"operator":"in","values":["UK","US"]},' +
  '{"column":"lifetime_value","not":true,"operator":"gte","values":["99.95"]}]'

const kept: ReadonlyArray<readonly [name: string, stored: string, spec: ExportSpec]> = [
  [
    "version 1",
    `{"dataset":"users","columns":[{"name":"id","type":"bigint"}],"conditions":${CONDITIONS},` +
      `"order":[{"column":"id","descending":true}],"total":10,"format":${FORMAT_1}}`,
    plain
  ],
  [
    "version 1, with groups",
    '{"dataset":"users","columns":[{"name":"id","type":"bigint"}],"conditions":[{"not":true,"operator":"or","conditions":' +
      `${CONDITIONS}}],"order":[],"format":${FORMAT_1}}`,
    {
      dataset: "users",
      columns: plain.columns,
      conditions: [{ not: true, operator: "or", conditions }],
      order: [],
      format: profiles.postgres
    }
  ],
  [
    "version 1, with members that the version before it did not have",
    '{"dataset":"users","columns":[{"name":"doc","type":"jsonb","path":[{"arrow":"->>","key":"a"}],"label":"A"}],"conditions":' +
      '[{"column":"name","not":false,"operator":"like","quantifier":"any","values":["A%","B%"]}],' +
      `"format":${FORMAT_1},"orderBy":[{"column":"id","descending":true,"nulls":"last"}]}`,
    {
      dataset: "users",
      columns: [{ name: "doc", type: "jsonb", path: [{ arrow: "->>", key: "a" }], label: "A" }],
      conditions: [{ column: "name", not: false, operator: "like", quantifier: "any", values: ["A%", "B%"] }],
      order: [{ column: "id", descending: true, nulls: "last" }],
      format: profiles.postgres
    }
  ],
  [
    "version 2",
    '{"version":2,"dataset":"users","columns":[{"name":"id","type":"bigint"}],' +
      `"conditions":${CONDITIONS},"order":[{"column":"id","descending":true}],"total":10,` +
      `"format":{"kind":"csv",${FORMAT_1.slice(1)}}`,
    plain
  ]
]

test.each(kept)("a spec of %s is read as it was meant", async (_, stored, spec) => {
  expect(await Effect.runPromise(fromStoredSpec(JSON.parse(stored)))).toEqual(spec)
})

test("a spec is stored as version 1, which the version of the service before this one reads, and read back unchanged", async () => {
  expect(JSON.stringify(toStoredSpec(plain))).toBe(kept[0]![1])
  for (const [, , spec] of kept) {
    const stored: unknown = JSON.parse(JSON.stringify(toStoredSpec(spec)))
    expect(await Effect.runPromise(fromStoredSpec(stored))).toEqual(spec)
  }
})

const refusal = (stored: object) => Effect.runPromise(Effect.flip(fromStoredSpec(stored)))

test("a spec of a later version is refused, with both versions", async () => {
  expect((await refusal({ ...toStoredSpec(plain), version: 3 })).message).toBe(
    "Cannot read what was to be exported: its spec has the version 3, and this version of the service reads 1 and 2"
  )
})

test.each<[string, (spec: ExportSpec) => object]>([
  ["the spec", (spec) => ({ ...toStoredSpec(spec), later: true })],
  ["the format", ({ format, ...spec }) => ({ ...toStoredSpec({ format, ...spec }), format: { ...format, later: true } })],
  ["a column", (spec) => ({ ...toStoredSpec(spec), columns: spec.columns.map((column) => ({ ...column, later: true })) })]
])("an unknown member of %s is refused", async (_, change) => {
  expect((await refusal(change(specOf()))).message).toContain("another version of the service wrote it")
})

test("the format of a file is read from specs of every version, and from those without one", () => {
  expect(fromStoredFormat(JSON.parse(FORMAT_1))).toEqual(profiles.postgres)
  expect(fromStoredFormat(JSON.parse(JSON.stringify(profiles.tsv)))).toEqual(profiles.tsv)
  expect(fromStoredFormat(null)).toEqual(profiles.postgres)
  expect(fromStoredFormat({ kind: "of a later version" })).toBeUndefined()
})
