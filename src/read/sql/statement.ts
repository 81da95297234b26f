import type { Statement } from "../../source/statement.ts"
import { isText, type Column, columnAt } from "../../datasets/column.ts"
import { markText } from "../../formats/csv/spreadsheet-text.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import { type Path } from "../../datasets/filters/json-path.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { CsvLayout } from "../export-bytes.ts"
import { columnSql, treeSql, type Bind } from "../../datasets/filters/condition-sql.ts"
import { identifier, literal, relationName } from "../../source/identifier.ts"
import { selectItem } from "./select-list.ts"

/** A relation by its name, what that stood for when the export was planned, and its dataset's. */
export interface Identity {
  readonly schema: string
  readonly table: string
  readonly oid: string
  readonly root: string
}

/** What a part of an export reads: one relation, or pages or keys of it from `from` up to, not including, `to`; undefined is no end. */
export interface Part extends Identity {
  readonly pages?: { readonly from: number; readonly to: number | undefined }
  readonly keys?: { readonly column: string; readonly from: bigint | undefined; readonly to: bigint | undefined }
}

/**
 * `value`, as long as the part's relation is the one that was planned; else the part fails. Each part names it anew, and
 * while an export runs the name may come to stand for another one, when a schema is renamed, or the role lose its right
 * to see all rows. As a bound this is asked once a part; a filter of its own costs each row 5%.
 */
const ifPlanned = (part: Part, value: string, type: "tid" | "bigint" | "boolean"): string => {
  const now = `to_regclass(${literal(relationName(part))})::oid`
  const [one, root] = [`${part.oid}::oid`, `${part.root}::oid`]
  const unchanged = `${now} = ${one} and not row_security_active(${one}) and not row_security_active(${root})`
  // The server has no way to raise an error of one's own: its complaint holds the text that is no such value.
  return `(select case when ${unchanged} then ${value} else concat('oid ', ${now}, ' is read otherwise now')::${type} end)`
}

const rangeConditions = (part: Part): ReadonlyArray<string> => {
  const { pages, keys } = part
  if (pages) {
    const from = `ctid >= ${ifPlanned(part, `'(${pages.from},0)'`, "tid")}`
    return pages.to === undefined ? [from] : [from, `ctid < '(${pages.to},0)'`]
  }
  if (keys?.from !== undefined) {
    const from = `${identifier(keys.column)} >= ${ifPlanned(part, String(keys.from), "bigint")}`
    return keys.to === undefined ? [from] : [from, `${identifier(keys.column)} < ${keys.to}`]
  }
  if (keys?.to !== undefined) return [`${identifier(keys.column)} < ${ifPlanned(part, String(keys.to), "bigint")}`]
  return [ifPlanned(part, "true", "boolean")]
}

/** A column that a spec names, or the value at a path in it. */
interface Named {
  readonly column: string
  readonly path?: Path | undefined
}

/** Returns a function that finds the dataset's column for what a spec names. Specs were checked against the dataset before. */
export const columnsOf = (dataset: Dataset): ((named: Named) => Column) => {
  return ({ column: name, path }) => {
    const named = dataset.columns.get(name)
    const column = named && path ? columnAt(named, path) : named
    if (typeof column !== "object") throw new Error(`${dataset.name} has no column ${name}${column ? `: ${column}` : ""}`)
    return column
  }
}

interface Selected {
  readonly column: Column
  /** The name in the query, which is unique. */
  readonly alias: string
  /** The name in the header. */
  readonly title: string
}

/**
 * Lists the columns of a file. The value at a path gets a generated name, since a key may be the name of a column or too
 * long for one.
 */
const selectedOf = ({ columns }: ExportSpec, dataset: Dataset): ReadonlyArray<Selected> => {
  const columnOf = columnsOf(dataset)
  let prefix = "path "
  while (columns.some((_, nth) => dataset.columns.has(`${prefix}${nth}`))) prefix += " "
  return columns.map(({ name, path, label }, nth) => {
    const column = columnOf({ column: name, path })
    return { column, alias: path ? `${prefix}${nth}` : name, title: label ?? (path ? column.label : name) }
  })
}

/** By its own name, ORDER BY would take a column as the select list writes it: a number as text, where it is written as such. */
const ORDERED = '"exported"'

/**
 * The query of an export, or of its parts: they have all in common but what they read. Identifiers come from the dataset
 * and the catalog; `bind` tells how the nth value is written.
 */
const queryOf = (spec: ExportSpec, dataset: Dataset, bind: Bind): ((part?: Part) => string) => {
  const columnOf = columnsOf(dataset)
  const select = selectedOf(spec, dataset)
    .map(({ column, alias }) => selectItem(column, columnSql(column, bind), alias, spec.format))
    .join(", ")
  const conditions = [
    ...dataset.conditions.map(({ condition, column }) => treeSql(condition, () => column, bind)),
    ...spec.conditions.map((tree) => treeSql(tree, columnOf, bind))
  ]
  const order = spec.order.map(({ column, path, descending, nulls }) => {
    const by = columnSql(columnOf({ column, path }), bind, `${ORDERED}.`)
    return `${by}${descending ? " desc" : ""}${nulls === undefined ? "" : ` nulls ${nulls}`}`
  })
  const alias = order.length > 0 ? [`as ${ORDERED}`] : []
  const end = [
    ...(order.length > 0 ? [`order by ${order.join(", ")}`] : []),
    ...(spec.total !== undefined ? [`limit ${bind(String(spec.total))}::text::bigint`] : [])
  ]
  return (part) => {
    const from = part ? `only ${relationName(part)}` : relationName(dataset)
    const all = [...conditions, ...(part ? rangeConditions(part) : [])]
    const where = all.length > 0 ? [`where ${all.join(" and ")}`] : []
    return [`select ${select} from ${from}`, ...alias, ...where, ...end].join(" ")
  }
}

export const selectStatement = (spec: ExportSpec, dataset: Dataset): Statement => {
  const values: Array<string> = []
  const text = queryOf(spec, dataset, (value) => `$${values.push(value)}`)()
  return { text, values }
}

/** Asks the server to write the values of a statement as literals, since COPY takes none bound: a row each, in their order. */
export const quoteStatement = ({ values }: Statement): Statement => ({
  text: "select quote_literal(value) as literal from json_array_elements_text($1::text::json) with ordinality order by ordinality",
  values: [JSON.stringify(values)]
})

/** COPY's options for a format; its columns are named as the query's are. */
const copyOptions = (spec: ExportSpec, dataset: Dataset, encoding: string | undefined): string => {
  const { format } = spec
  const quote = literal(format.quote)
  const texts = selectedOf(spec, dataset).filter(({ column }) => isText(column))
  const forced =
    format.quoting === "all" ? "*" : format.quoting === "text" ? texts.map(({ alias }) => identifier(alias)).join(", ") : ""
  return [
    `format csv, delimiter ${literal(format.delimiter)}, quote ${quote}, escape ${quote}`,
    ...(encoding === undefined ? [] : [`encoding ${literal(encoding)}`]),
    ...(format.null === "" ? [] : [`null ${literal(format.null)}`]),
    ...(forced === "" ? [] : [forced === "*" ? "force_quote *" : `force_quote (${forced})`])
  ].join(", ")
}

/**
 * Writes the COPY of an export, or of each of its parts, without a header. `literals` is the answer to `quoteStatement`;
 * `encoding` is given if the bytes are not in the session's encoding.
 */
export const copyStatements = (
  spec: ExportSpec,
  dataset: Dataset,
  literals: ReadonlyArray<string>,
  encoding?: string
): ((part?: Part) => string) => {
  let bound = 0
  const query = queryOf(spec, dataset, () => literals[bound++]!)
  const options = copyOptions(spec, dataset, encoding)
  return (part) => `copy (${query(part)}) to stdout (${options})`
}

/** How the bytes of an export are written. */
export const layoutOf = (spec: ExportSpec, dataset: Dataset): CsvLayout => {
  const { format } = spec
  const selected = selectedOf(spec, dataset)
  return {
    dialect: format,
    bom: format.bom,
    texts: selected.map(({ column }) => isText(column)),
    header: format.header === "none" ? undefined : selected.map(({ title }) => markText(title, format))
  }
}
