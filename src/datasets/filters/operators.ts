import { isString, type Column } from "../column.ts"

const COMPARISONS = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "isdistinct"] as const
const PATTERNS = ["like", "ilike"] as const
const EXPRESSIONS = ["match", "imatch"] as const
const SEARCHES = ["fts", "plfts", "phfts", "wfts"] as const
const CONTAINMENTS = ["cs", "cd"] as const
const POSITIONS = ["sl", "sr", "nxl", "nxr", "adj"] as const

/** The operators, by PostgREST's names. */
export const operators = [
  ...COMPARISONS,
  ...PATTERNS,
  ...EXPRESSIONS,
  ...SEARCHES,
  ...CONTAINMENTS,
  "ov",
  ...POSITIONS,
  "is"
] as const
export type Operator = (typeof operators)[number]

const isOneOf =
  (some: ReadonlyArray<Operator>) =>
  (operator: Operator): boolean =>
    some.includes(operator)

/** Says whether an operator's values are patterns of LIKE. */
export const isPattern = isOneOf(PATTERNS)
/** Says whether an operator's values are regular expressions. */
export const isExpression = isOneOf(EXPRESSIONS)
/** Says whether an operator searches text, for which it may have a language. */
export const isSearch = isOneOf(SEARCHES)
/** Says whether an operator's values are of the column's type. */
export const isOfType = (operator: Operator): boolean =>
  operator !== "is" && !isPattern(operator) && !isExpression(operator) && !isSearch(operator)

const isList = ({ category }: Column) => category === "A"
/** Says whether a column has ranges; multiranges are in the same category. */
const isRange = ({ category }: Column) => category === "R"

/** Says whether `(any)` and `(all)`, which compare with each value of a list, may follow an operator on a column. */
export const isQuantifiable = (operator: Operator, column: Column): boolean =>
  ["eq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch"].includes(operator) && !isList(column)

/** Lists the operators that a column can be filtered by. */
export const operatorsOf = (column: Column): ReadonlyArray<Operator> => {
  const { ordered, base } = column
  const isText = isString(column)
  const isContainer = (isList(column) && ordered) || isRange(column)
  return [
    ...(ordered ? COMPARISONS : []),
    ...(isText ? [...PATTERNS, ...EXPRESSIONS] : []),
    ...(isText || base === "tsvector" || base === "json" || base === "jsonb" ? SEARCHES : []),
    ...(isContainer || base === "jsonb" ? CONTAINMENTS : []),
    ...(isContainer ? (["ov"] as const) : []),
    ...(isRange(column) ? POSITIONS : []),
    "is"
  ]
}
