/** The demo table as a dataset, for the tests of pure functions. */
import { byName, type Column } from "../../src/datasets/column.ts"
import { Schema } from "effect"
import type { Dataset } from "../../src/datasets/dataset.ts"
import { users, usersDefinition } from "../../src/datasets/users.ts"
import { parseFieldName } from "../../src/datasets/filters/field-name.ts"
import type { ExportSpec } from "../../src/exports/export-spec.ts"
import { declaredConditions, exportParameters, toExportSpec } from "../../src/exports/parameters.ts"
import { readFilters } from "../../src/exports/filters.ts"

/** Each column's type, that type without its modifier, and its category. */
const types = {
  id: ["bigint", "bigint", "N"],
  name: ["text", "text", "S"],
  email: ["text", "text", "S"],
  signup_date: ["timestamp with time zone", "timestamp with time zone", "D"],
  country_code: ["character(2)", "bpchar", "S"],
  subscription_tier: ["text", "text", "S"],
  lifetime_value: ["numeric(12,2)", "numeric", "N"]
} as const
export const userColumns: ReadonlyArray<string> = Object.keys(types)
/** A column that may be filtered and sorted by. */
export const columnOf = (name: string, [type, base, category]: readonly [string, string, string]): Column => ({
  name,
  number: Object.keys(types).indexOf(name) + 1,
  type,
  base,
  category,
  ordered: true,
  nullable: false,
  comment: null,
  label: name,
  filterable: true
})

export const usersDataset: Dataset = {
  ...users,
  name: "users",
  kind: "table",
  comment: null,
  columns: byName(Object.entries(types).map(([name, type]) => columnOf(name, type))),
  key: ["id"],
  estimatedRows: null,
  estimatedBytes: null,
  parameters: usersDefinition.parameters,
  conditions: [],
  order: [],
  maxRows: undefined
}

/** The spec of a request with these parameters and filters. */
export const specOf = (
  parameters: Readonly<Record<string, string>> = {},
  dataset: Dataset = usersDataset,
  filters: ReadonlyArray<readonly [column: string, filter: string]> = []
): ExportSpec => {
  const { conditions, errors } = readFilters(
    filters.map(([column, text]) => ({ field: column, tree: { column: parseFieldName(column), text } })),
    dataset
  )
  if (errors.length > 0) throw new Error(JSON.stringify(errors))
  const decoded = Schema.decodeUnknownSync(exportParameters(dataset))(parameters)
  const declared = declaredConditions(decoded, dataset).map(({ condition }) => condition)
  return toExportSpec(decoded, dataset, [...declared, ...conditions])
}
