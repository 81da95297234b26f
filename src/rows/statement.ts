import { datasets } from "../datasets/users.ts"
import type { ExportSpec } from "../exports/export-spec.ts"

/** SQL with its bound values, all as text: the server casts them. */
export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<string>
}

const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`

/** The query of an export. Identifiers come from the dataset, values from the request are bound. */
export const selectStatement = (spec: ExportSpec): Statement => {
  const dataset = datasets[spec.dataset]!
  const values: Array<string> = []
  const bind = (value: string, type: string) => `$${values.push(value)}::text::${type}`
  const conditions = Object.entries(dataset.filters).flatMap(([name, { column, operator, type }]) => {
    const value = spec.filters[name as keyof ExportSpec["filters"]]
    return value === undefined ? [] : [`${identifier(column)} ${operator} ${bind(value, type)}`]
  })
  const text = [
    `select ${spec.columns.map(identifier).join(", ")}`,
    `from ${identifier(dataset.schema)}.${identifier(dataset.table)}`,
    ...(conditions.length > 0 ? [`where ${conditions.join(" and ")}`] : []),
    ...(spec.total !== undefined ? [`limit ${bind(String(spec.total), "bigint")}`] : [])
  ].join(" ")
  return { text, values }
}
