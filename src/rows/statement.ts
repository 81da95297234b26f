import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"

/** SQL with its bound values, all as text: the server casts them. */
export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<string>
}

/** What a part of an export reads: one relation, or pages of it from `from` up to, not including, `to`, or to its end. */
export interface Part {
  readonly schema: string
  readonly table: string
  readonly pages?: { readonly from: number; readonly to: number | undefined }
}

const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`
/** Of characters of the dialect, which are checked; a request's values are never written this way. */
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

export const relationName = ({ schema, table }: { schema: string; table: string }) => `${identifier(schema)}.${identifier(table)}`

const pageConditions = ({ pages }: Part) => [
  ...(pages ? [`ctid >= '(${pages.from},0)'`] : []),
  ...(pages?.to !== undefined ? [`ctid < '(${pages.to},0)'`] : [])
]

/** The query of an export, or of a part of it. Identifiers come from the dataset and the catalog; `bind` tells how the nth value is written. */
const queryOf = (spec: ExportSpec, dataset: Dataset, bind: (value: string) => string, part?: Part): string => {
  const filters = Object.entries(dataset.parameters).flatMap(([name, { column, operator, type }]) => {
    const value = spec.filters[name as keyof ExportSpec["filters"]]
    return value === undefined ? [] : [`${identifier(column)} ${operator} ${bind(value)}::text::${type}`]
  })
  const conditions = [...filters, ...(part ? pageConditions(part) : [])]
  return [
    `select ${spec.columns.map(identifier).join(", ")}`,
    part ? `from only ${relationName(part)}` : `from ${relationName(dataset)}`,
    ...(conditions.length > 0 ? [`where ${conditions.join(" and ")}`] : []),
    ...(spec.total !== undefined ? [`limit ${bind(String(spec.total))}::text::bigint`] : [])
  ].join(" ")
}

export const selectStatement = (spec: ExportSpec, dataset: Dataset): Statement => {
  const values: Array<string> = []
  const text = queryOf(spec, dataset, (value) => `$${values.push(value)}`)
  return { text, values }
}

/** Asks the server to write the values of a statement as literals, since COPY takes none bound: one row, a column each. */
export const quoteStatement = ({ values }: Statement): Statement => ({
  text: `select ${values.map((_, index) => `quote_literal($${index + 1}::text) as "${index}"`).join(", ")}`,
  values
})

/** The COPY of an export, or of a part of it, without a header; `literals` are the row that `quoteStatement` answered. */
export const copyStatement = (spec: ExportSpec, dataset: Dataset, literals: ReadonlyArray<string>, part?: Part): string => {
  let bound = 0
  const quote = literal(spec.quote)
  const options = `format csv, delimiter ${literal(spec.delimiter)}, quote ${quote}, escape ${quote}`
  return `copy (${queryOf(spec, dataset, () => literals[bound++]!, part)}) to stdout (${options})`
}
