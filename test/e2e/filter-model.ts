/** Filters on the table `things` and trees of them, both as a request has them and as SQL that is written by hand. */
import { bases, field, quoted, THINGS, type Name } from "./filters.fixture.ts"

type Step = readonly [arrow: "->" | "->>", key: string | number]

export interface Filter {
  readonly name: Name
  readonly path: ReadonlyArray<Step>
  readonly not: boolean
  readonly operator: string
  readonly quantifier?: "any" | "all" | undefined
  readonly language?: string | undefined
  readonly values: ReadonlyArray<string>
  /** Whether it is written without its operator, which is eq. */
  readonly bare: boolean
}
export interface Group {
  readonly not: boolean
  readonly operator: "and" | "or"
  readonly trees: ReadonlyArray<Tree>
}
export type Tree = Filter | Group
export const isGroup = (tree: Tree): tree is Group => "trees" in tree
export const isFilter = (tree: Tree): tree is Filter => !isGroup(tree)

/** The kind of values that a filter compares. */
export type Kind = "text" | "plain" | "array" | "json" | "range" | "words"
const KINDS: Partial<Record<Name, Kind>> = {
  name: "text",
  code: "text",
  email: "text",
  'odd "name", x': "text",
  tags: "array",
  labels: "array",
  doc: "json",
  span: "range",
  spans: "range",
  words: "words"
}
export const kindOf = ({ name, path }: Pick<Filter, "name" | "path">): Kind =>
  path.length === 0 ? (KINDS[name] ?? "plain") : path.at(-1)![0] === "->>" ? "text" : "json"

const SYMBOLS: Readonly<Record<string, string>> = {
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
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-"
}
const SEARCHES: Readonly<Record<string, string>> = {
  fts: "to_tsquery",
  plfts: "plainto_tsquery",
  phfts: "phraseto_tsquery",
  wfts: "websearch_to_tsquery"
}
export const searches = Object.keys(SEARCHES)
const compared = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "isdistinct", "is"]
export const patterns = ["like", "ilike"]
export const expressions = ["match", "imatch"]
const containments = ["cs", "cd"]
export const operatorsOf: Readonly<Record<Kind, ReadonlyArray<string>>> = {
  plain: compared,
  text: [...compared, ...patterns, ...expressions, ...searches],
  array: [...compared, ...containments, "ov"],
  json: [...compared, ...containments, ...searches],
  range: [...compared, ...containments, "ov", "sl", "sr", "nxl", "nxr", "adj"],
  words: [...compared, ...searches]
}

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

const columnSql = ({ name, path }: Filter): string => {
  const column = quoted(name) + (bases[name] ? `::${bases[name]}` : "")
  if (path.length === 0) return column
  const steps = path.map(([arrow, key]) => `${arrow}${typeof key === "number" ? key : literal(key)}`)
  return `(${name === "doc" ? column : `to_jsonb(${column})`}${steps.join("")})`
}

/** Writes a filter with literals that have no type, and without IN, ANY, ALL and IS DISTINCT FROM. */
const filterSql = (filter: Filter): string => {
  const { operator, quantifier, language, values } = filter
  const column = columnSql(filter)
  const [value = ""] = values
  const written = (one: string) => literal(patterns.includes(operator) ? one.replaceAll("*", "%") : one)
  if (operator === "is") return `(${column} is ${value.replace("_", " ")})`
  if (operator === "isdistinct") return `(${column} is null or ${column} <> ${literal(value)})`
  if (SEARCHES[operator]) {
    const configuration = language === undefined ? "" : `${literal(language)}, `
    const vector = kindOf(filter) === "words" ? column : `to_tsvector(${configuration}${column})`
    return `${vector} @@ ${SEARCHES[operator]}(${configuration}${literal(value)})`
  }
  const all = values.map((one) => `${column} ${SYMBOLS[operator] ?? "="} ${written(one)}`)
  if (all.length === 0) return String(quantifier === "all")
  return `(${all.join(quantifier === "all" ? " and " : " or ")})`
}

/** Negates a condition without NOT: unknown stays unknown. */
const negated = (sql: string, not: boolean) => (not ? `((${sql}) = false)` : sql)
export const byHand = (tree: Tree): string =>
  isGroup(tree) ? negated(`(${tree.trees.map(byHand).join(` ${tree.operator} `)})`, tree.not) : negated(filterSql(tree), tree.not)

const escaped = (text: string) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`
const listItem = (value: string) => (/[",()\\]|^\s/.test(value) || value.length % 2 === 0 ? escaped(value) : value)
const arrayItem = (value: string) => (/^[\w.:+-]+$/.test(value) && !/^null$/i.test(value) ? value : escaped(value))

/** Writes a filter, such as `not.like(any).{"a*"}`. */
export const filterText = (
  { not, operator, quantifier, language, values, bare }: Filter,
  quote = (text: string) => text
): string => {
  if (bare) return values[0]!
  const modifier = quantifier ?? language
  const head = `${not ? "not." : ""}${operator}${modifier === undefined ? "" : `(${modifier})`}.`
  if (operator === "in") return `${head}(${values.map(listItem).join(",")})`
  return head + quote(quantifier === undefined ? values[0]! : `{${values.map(arrayItem).join(",")}}`)
}

const keyText = (key: string | number) => (typeof key === "number" || /^[a-z_]\w*$/i.test(key) ? String(key) : escaped(key))
const pathText = ({ path }: Filter) => path.map(([arrow, key]) => arrow + keyText(key)).join("")
/** Writes the name of a parameter. The name of a column stays as it is. */
export const fieldText = (filter: Filter): string => filter.name + pathText(filter)

/**
 * Writes a value in a tree. It needs no quotes if nothing in it could end the value or has a meaning of its own. An array of
 * one level needs none, either.
 */
const treeValue = (text: string) => (/^(?:[^,()"\\{}]*|\{[^{}]*\})$/.test(text) ? text : escaped(text))

/** Writes the list of a group, with blanks where they have no meaning. */
export const listText = ({ trees }: Group): string => {
  const parts = trees.map((tree, nth) => {
    const blank = nth % 3 === 1 ? " " : ""
    if (isGroup(tree)) return `${blank}${tree.not ? "not." : ""}${tree.operator}${blank}${listText(tree)}${blank}`
    const name = /^\w+$/.test(tree.name) ? tree.name : escaped(tree.name)
    return `${blank}${name}${pathText(tree)}.${filterText({ ...tree, bare: false }, treeValue)}`
  })
  return `(${parts.join(",")})`
}

const groupName = ({ not, operator }: Group) => (not ? `not.${operator}` : operator)

/** Writes a value as JSON: numbers with their digits, truth values, null. */
const jsonText = (filter: Filter): string => {
  const text = filterText(filter)
  if (filter.operator === "is" && filter.values[0] === "null" && !filter.not) return "null"
  if (filter.bare && /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text)) return text
  return filter.bare && (text === "true" || text === "false") ? text : JSON.stringify(text)
}

/**
 * Writes a JSON object of filters and groups that must all hold. Members with one name become a list, or another object in
 * an `and`.
 */
export const whereOf = (trees: ReadonlyArray<Tree>): string => {
  const filters = Map.groupBy(trees.filter(isFilter), fieldText)
  const members = [...filters].map(([name, own]) => {
    const values = own.map(jsonText)
    return `${JSON.stringify(name)}:${values.length > 1 ? `[${values.join(",")}]` : values[0]}`
  })
  const groups = trees.filter(isGroup)
  const first = groups.filter((group, nth) => groups.findIndex((other) => groupName(other) === groupName(group)) === nth)
  const written = first.map((group) => `"${groupName(group)}":[${group.trees.map((tree) => whereOf([tree])).join(",")}]`)
  const others = groups.filter((group) => !first.includes(group))
  if (others.length === 0) return `{${[...members, ...written].join(",")}}`
  return `{"and":[${[...trees.filter((tree) => !others.includes(tree as Group)), ...others].map((tree) => whereOf([tree])).join(",")}]}`
}

/** Writes the query for the ids of the rows for which all filters hold, in their order. */
export const queryOf = (trees: ReadonlyArray<Tree>): string =>
  [
    `${THINGS}&columns=id&order_by=id`,
    ...trees.map((tree) => (isGroup(tree) ? field(groupName(tree), listText(tree)) : field(fieldText(tree), filterText(tree))))
  ].join("&")
