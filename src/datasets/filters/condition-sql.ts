import { isString, type Column } from "../column.ts"
import { type Statement } from "../../source/statement.ts"
import { isGroup, type Condition, type ConditionTree, type ColumnCondition } from "./conditions.ts"
import { isExpression, isOfType, isPattern, isSearch, type Operator } from "./operators.ts"
import { identifier } from "../../source/identifier.ts"

/** Writes a value into a statement, as a parameter or as the literal that the server made of it. */
export type Bind = (value: string) => string

const SQL_OPERATORS: Readonly<Record<Exclude<Operator, "in" | "is">, string>> = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  like: "like",
  ilike: "ilike",
  match: "~",
  imatch: "~*",
  isdistinct: "is distinct from",
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-",
  fts: "to_tsquery",
  plfts: "plainto_tsquery",
  phfts: "phraseto_tsquery",
  wfts: "websearch_to_tsquery"
}

/** Writes the values of a column, or those at a path in it. `prefix` names the relation. */
export const columnSql = ({ name, path, madeJson }: Column, bind: Bind, prefix = ""): string => {
  const column = prefix + identifier(name)
  if (!path) return column
  const steps = path.map(({ arrow, key }) =>
    typeof key === "number" ? `${arrow} ${bind(String(key))}::text::int` : `${arrow} ${bind(key)}::text`
  )
  return `(${madeJson ? `to_jsonb(${column})` : column} ${steps.join(" ")})`
}

const searchSql = ({ operator, language, values }: Condition, column: Column, sql: string, bind: Bind): string => {
  // The literal has the type itself, so that an index on the same expression is found.
  const configuration = () => (language === undefined ? "" : `${bind(language)}::regconfig, `)
  const text = isString(column) ? `${sql}::text` : sql
  const vector = column.base === "tsvector" ? sql : `to_tsvector(${configuration()}${text})`
  return `${vector} @@ ${SQL_OPERATORS[operator as "fts"]}(${configuration()}${bind(values[0]!)}::text)`
}

/** Writes a condition of a request; the server casts what `bind` writes. */
const conditionSql = (condition: Condition, column: Column, bind: Bind): string => {
  const { operator, quantifier, values } = condition
  // An empty list has no type, so the result is written instead. The column is left out, since the server could not infer
  // the type of an unused parameter.
  if (values.length === 0) return String(quantifier === "all")
  const plain = columnSql(column, bind)
  // The operators of enums are defined for any enum, but not for a domain over one.
  const sql = column.category === "E" && column.type !== column.base ? `${plain}::${column.base}` : plain
  const type = isOfType(operator) ? `::${column.base}` : ""
  const written = () => values.map((value) => `${bind(value)}::text${type}`)
  if (operator === "is") return `${sql} is ${values[0]!.replace("_", " ")}`
  if (isSearch(operator)) return searchSql(condition, column, sql, bind)
  if (operator === "in") return `${sql} in (${written().join(", ")})`
  if (quantifier === undefined) return `${sql} ${SQL_OPERATORS[operator]} ${written()[0]}`
  return `${sql} ${SQL_OPERATORS[operator]} ${quantifier} (array[${written().join(", ")}])`
}

/** Writes a condition or a group of conditions. Groups and negated conditions are in parentheses. */
export const treeSql = (tree: ConditionTree, columnOf: (condition: Condition) => Column, bind: Bind): string => {
  const sql = isGroup(tree)
    ? `(${tree.conditions.map((one) => treeSql(one, columnOf, bind)).join(` ${tree.operator} `)})`
    : conditionSql(tree, columnOf(tree), bind)
  if (!tree.not) return sql
  return isGroup(tree) ? `not ${sql}` : `not (${sql})`
}

/** The length that the server's text of a value may have at most; that of `now`, for example, is longer than the value. */
const LONGER = "32 * length(value) + 400"

/**
 * Writes a test that is true for a value that becomes much longer when it is written out, and that fails for one that is
 * invalid for its column and operator.
 */
const checkSql = ({ condition: { operator, language }, column }: ColumnCondition, asked: string): string => {
  if (isOfType(operator)) return `length((value::text::${column.base})::text) > ${LONGER}`
  if (isPattern(operator)) return "value::text is null"
  if (isExpression(operator)) return "('' ~ value) is null"
  const configuration = language === undefined ? "" : `(${asked} ->> 'language')::regconfig, `
  return `${SQL_OPERATORS[operator as "fts"]}(${configuration}value) is null`
}

/** Reads the nth condition from the one parameter that all are sent in. */
const askedOf = (nth: number) => `($1::text::json -> ${nth})`
const valuesOf = (nth: number) => `json_array_elements_text(${askedOf(nth)} -> 'values') with ordinality as list (value, place)`
const parameter = (conditions: ReadonlyArray<ColumnCondition>) => [
  JSON.stringify(conditions.map(({ condition: { values, language } }) => ({ values, language })))
]

/**
 * Writes a query that checks whether the server can cast the values of conditions and whether they become too long, with
 * one column for each condition.
 */
export const checkStatement = (conditions: ReadonlyArray<ColumnCondition>): Statement => ({
  text: `select ${conditions.map((one, nth) => `(select bool_or(${checkSql(one, askedOf(nth))}) from ${valuesOf(nth)}) as "${nth}"`).join(", ")}`,
  values: parameter(conditions)
})

/**
 * Writes a query for the values of conditions as the session reads them, with one column for each condition that has a
 * list of texts.
 */
export const readStatement = (conditions: ReadonlyArray<ColumnCondition>): Statement => ({
  text: `select ${conditions.map(({ column }, nth) => `(select json_agg(value::text::${column.base}::text order by place) from ${valuesOf(nth)}) as "${nth}"`).join(", ")}`,
  values: parameter(conditions)
})
