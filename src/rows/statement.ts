import type { Condition, Operator } from "../datasets/conditions.ts"
import { columnsByName, isText, type Column, type ConditionOn, type Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { CsvShape } from "./byte-rows.ts"
import { identifier, literal, relationName } from "./identifier.ts"
import { headerCell, selectItem } from "./select-list.ts"

/** SQL with its bound values, all as text: the server casts them. */
export interface Statement {
  readonly text: string
  readonly values: ReadonlyArray<string>
}

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

const SQL_OPERATORS: Readonly<Record<Exclude<Operator, "in" | "is">, string>> = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  like: "like",
  ilike: "ilike",
  isdistinct: "is distinct from"
}

/** Of a request's text: `bind` tells how a value is written, and the server casts it. */
const conditionSql = ({ operator, not, values }: Condition, on: Column, bind: (value: string) => string): string => {
  // The operators of enums are for any enum, and a domain over one is none.
  const column = on.category === "E" && on.type !== on.base ? `${identifier(on.name)}::${on.base}` : identifier(on.name)
  const written = () => values.map((value) => `${bind(value)}::text::${on.base}`)
  const sql =
    operator === "is"
      ? `${column} is ${values[0]!.replace("_", " ")}`
      : operator === "in"
        ? `${column} in (${written().join(", ")})`
        : operator === "like" || operator === "ilike"
          ? `${column} ${operator} ${bind(values[0]!)}::text`
          : `${column} ${SQL_OPERATORS[operator]} ${written()[0]}`
  return not ? `not (${sql})` : sql
}

/** The dataset's columns by name. Specs are checked against the dataset before they come here. */
const columnsOf = (dataset: Dataset): ((name: string) => Column) => {
  const columns = columnsByName(dataset)
  return (name) => {
    const column = columns.get(name)
    if (!column) throw new Error(`${dataset.name} has no column ${name}`)
    return column
  }
}

/** By its own name, ORDER BY would take a column as the select list writes it: a number as text, where it is written as such. */
const ORDERED = '"exported"'

/**
 * The query of an export, or of its parts: they have all in common but what they read. Identifiers come from the dataset
 * and the catalog; `bind` tells how the nth value is written.
 */
const queryOf = (spec: ExportSpec, dataset: Dataset, bind: (value: string) => string): ((part?: Part) => string) => {
  const columnOf = columnsOf(dataset)
  const select = spec.columns.map(({ name }) => selectItem(columnOf(name), spec.format)).join(", ")
  const conditions = [
    ...dataset.conditions.map(({ condition, on }) => conditionSql(condition, on, bind)),
    ...spec.conditions.map((condition) => conditionSql(condition, columnOf(condition.column), bind))
  ]
  const order = spec.order.map(
    ({ column, descending }) => `${ORDERED}.${identifier(columnOf(column).name)}${descending ? " desc" : ""}`
  )
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
  text: `select quote_literal(value) as literal from ${LISTED} order by ordinality`,
  values: [JSON.stringify(values)]
})

/** A list of any length, as one value. */
const LISTED = "json_array_elements_text($1::text::json) with ordinality"

/** Asks whether the server can cast the values of a condition: it answers, or fails. */
export const castStatement = ({ condition: { values }, on }: ConditionOn): Statement => ({
  text: `select count(value::text::${on.base}) from ${LISTED}`,
  values: [JSON.stringify(values)]
})

/** The values of a condition as the session reads them. */
export const readStatement = ({ condition: { values }, on }: ConditionOn): Statement => ({
  text: `select value::text::${on.base}::text as value from ${LISTED} order by ordinality`,
  values: [JSON.stringify(values)]
})

/** COPY's options for a format; its columns are named as the query's are. */
const copyOptions = ({ columns, format }: ExportSpec, dataset: Dataset): string => {
  const columnOf = columnsOf(dataset)
  const quote = literal(format.quote)
  const texts = columns.filter(({ name }) => isText(columnOf(name)))
  const forced =
    format.quoting === "all" ? "*" : format.quoting === "text" ? texts.map(({ name }) => identifier(name)).join(", ") : ""
  return [
    `format csv, delimiter ${literal(format.delimiter)}, quote ${quote}, escape ${quote}`,
    ...(format.null === "" ? [] : [`null ${literal(format.null)}`]),
    ...(forced === "" ? [] : [forced === "*" ? "force_quote *" : `force_quote (${forced})`])
  ].join(", ")
}

/** The COPY of an export, or of each of its parts, without a header; `literals` are what `quoteStatement` answered. */
export const copyStatements = (
  spec: ExportSpec,
  dataset: Dataset,
  literals: ReadonlyArray<string>
): ((part?: Part) => string) => {
  let bound = 0
  const query = queryOf(spec, dataset, () => literals[bound++]!)
  const options = copyOptions(spec, dataset)
  return (part) => `copy (${query(part)}) to stdout (${options})`
}

/** How the bytes of an export are written. */
export const shapeOf = ({ columns, format }: ExportSpec, dataset: Dataset): CsvShape => {
  const columnOf = columnsOf(dataset)
  return {
    dialect: format,
    bom: format.bom,
    texts: columns.map(({ name }) => isText(columnOf(name))),
    header: format.header === "none" ? undefined : columns.map(({ name, label = name }) => headerCell(label, format))
  }
}
