import type { Statement } from "../../source/statement.ts"
import { isText, type Column, columnAt } from "../../datasets/column.ts"
import { markText } from "../../formats/csv/spreadsheet-text.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import { type Path } from "../../datasets/filters/json-path.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { CsvLayout } from "../export-bytes.ts"
import { columnSql, treeSql, type Bind } from "../../datasets/filters/condition-sql.ts"
import { identifier, literal, relationName } from "../../source/identifier.ts"
import { REPLACED } from "../../source/source-error.ts"
import { selectItem } from "./select-list.ts"

/** A relation by its name, with its OID and that of its dataset's relation at the time of the plan. */
export interface RelationIdentity {
  readonly schema: string
  readonly table: string
  readonly oid: string
  readonly root: string
}

/**
 * What the COPY of a part reads: the dataset's query as it is, one relation, or a range of the relation's pages or keys,
 * from `from` up to, not including, `to`. Undefined is an open end.
 */
export type PartRange =
  | { readonly kind: "single" }
  | (RelationIdentity & { readonly kind: "relation" })
  | (RelationIdentity & { readonly kind: "pages"; readonly from: number; readonly to: number | undefined })
  | (RelationIdentity & {
      readonly kind: "keys"
      readonly column: string
      readonly from: bigint | undefined
      readonly to: bigint | undefined
    })

/**
 * Writes `value` so that the part fails when its name no longer stands for the relation that was planned, or when the role
 * no longer sees all its rows: each part names the relation anew, and a schema may be renamed while an export runs. As the
 * bound of a range this is evaluated once a part; as a filter of its own it would cost each row 5%.
 *
 * The server has no way to raise an error of one's own, so the CASE casts a text that is no such value. `toSourceError`
 * recognizes the text.
 */
const ifPlanned = (part: RelationIdentity, value: string, type: "tid" | "bigint" | "boolean"): string => {
  const now = `to_regclass(${literal(relationName(part))})::oid`
  const [one, root] = [`${part.oid}::oid`, `${part.root}::oid`]
  const isPlanned = `${now} = ${one} and not row_security_active(${one}) and not row_security_active(${root})`
  return `(select case when ${isPlanned} then ${value} else concat(${literal(REPLACED)}, ${now})::${type} end)`
}

const rangeConditions = (part: PartRange): ReadonlyArray<string> => {
  switch (part.kind) {
    case "single":
      return []
    case "relation":
      return [ifPlanned(part, "true", "boolean")]
    case "pages": {
      const from = `ctid >= ${ifPlanned(part, `'(${part.from},0)'`, "tid")}`
      return part.to === undefined ? [from] : [from, `ctid < '(${part.to},0)'`]
    }
    case "keys": {
      const column = identifier(part.column)
      if (part.from === undefined && part.to === undefined) return [ifPlanned(part, "true", "boolean")]
      if (part.from === undefined) return [`${column} < ${ifPlanned(part, String(part.to), "bigint")}`]
      const from = `${column} >= ${ifPlanned(part, String(part.from), "bigint")}`
      return part.to === undefined ? [from] : [from, `${column} < ${part.to}`]
    }
  }
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

/** Qualifies columns in ORDER BY. An unqualified name would bind to the select list, where a number may be written as text. */
const ORDERED = '"exported"'

const conditionsOf = (spec: ExportSpec, dataset: Dataset, bind: Bind): ReadonlyArray<string> => {
  const columnOf = columnsOf(dataset)
  return [
    ...dataset.conditions.map(({ condition, column }) => treeSql(condition, () => column, bind)),
    ...spec.conditions.map((tree) => treeSql(tree, columnOf, bind))
  ]
}

const whereOf = (conditions: ReadonlyArray<string>) => (conditions.length > 0 ? ` where ${conditions.join(" and ")}` : "")

/**
 * Writes the query of an export; the function that it returns writes it for one part. Identifiers come from the dataset and
 * the catalog, and `bind` writes values.
 */
const queryOf = (spec: ExportSpec, dataset: Dataset, bind: Bind): ((part: PartRange) => string) => {
  const columnOf = columnsOf(dataset)
  const select = selectedOf(spec, dataset)
    .map(({ column, alias }) => selectItem(column, columnSql(column, bind), alias, spec.format))
    .join(", ")
  const conditions = conditionsOf(spec, dataset, bind)
  const order = spec.order.map(({ column, path, descending, nulls }) => {
    const by = columnSql(columnOf({ column, path }), bind, `${ORDERED}.`)
    return `${by}${descending ? " desc" : ""}${nulls === undefined ? "" : ` nulls ${nulls}`}`
  })
  const alias = order.length > 0 ? ` as ${ORDERED}` : ""
  const end = [
    ...(order.length > 0 ? [` order by ${order.join(", ")}`] : []),
    ...(spec.total !== undefined ? [` limit ${bind(String(spec.total))}::text::bigint`] : [])
  ].join("")
  return (part) => {
    const from = part.kind === "single" ? relationName(dataset) : `only ${relationName(part)}`
    return `select ${select} from ${from}${alias}${whereOf([...conditions, ...rangeConditions(part)])}${end}`
  }
}

/** Collects bound values: `bind` writes the parameter of a value. */
const binding = () => {
  const values: Array<string> = []
  return { values, bind: (value: string) => `$${values.push(value)}` }
}

/** Writes the query of an export. */
export const selectStatement = (spec: ExportSpec, dataset: Dataset): Statement => {
  const { values, bind } = binding()
  return { text: queryOf(spec, dataset, bind)({ kind: "single" }), values }
}

/** Writes a query that has a row if more than `rows` rows match the filters of an export. */
export const moreRowsStatement = (spec: ExportSpec, dataset: Dataset, rows: number): Statement => {
  const { values, bind } = binding()
  const where = whereOf(conditionsOf(spec, dataset, bind))
  return { text: `select from ${relationName(dataset)}${where} offset ${bind(String(rows))}::text::bigint limit 1`, values }
}

/** Selects the values of a statement as literals, a row each, in their order: COPY takes no bound values. */
export const quoteStatement = ({ values }: Statement): Statement => ({
  text: "select quote_literal(value) as literal from json_array_elements_text($1::text::json) with ordinality order by ordinality",
  values: [JSON.stringify(values)]
})

/** Writes the options of COPY for a format. Columns have the names that they have in the query. */
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
 * Returns a function that writes the COPY of a part, without a header. `literals` is the answer to `quoteStatement`;
 * `encoding` is given if the bytes are not in the session's encoding.
 */
export const copyStatements = (
  spec: ExportSpec,
  dataset: Dataset,
  literals: ReadonlyArray<string>,
  encoding?: string
): ((part: PartRange) => string) => {
  let bound = 0
  const query = queryOf(spec, dataset, () => literals[bound++]!)
  const options = copyOptions(spec, dataset, encoding)
  return (part) => `copy (${query(part)}) to stdout (${options})`
}

/** Returns the layout of an export's file. */
export const layoutOf = (spec: ExportSpec, dataset: Dataset): CsvLayout => {
  const { format } = spec
  const selected = selectedOf(spec, dataset)
  return {
    dialect: format,
    bom: format.bom,
    isTextColumn: selected.map(({ column }) => isText(column)),
    header: format.header === "none" ? undefined : selected.map(({ title }) => markText(title, format))
  }
}
