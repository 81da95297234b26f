import { Schema } from "effect"
import { isString, type Column } from "./dataset.ts"

/** As PostgREST calls them. */
const operators = ["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is", "isdistinct"] as const
export type Operator = (typeof operators)[number]

/** `column operator values`, or its negation. All but `in` have one value. */
export const Condition = Schema.Struct({
  column: Schema.String,
  not: Schema.Boolean,
  operator: Schema.Literal(...operators),
  values: Schema.Array(Schema.String)
})
export type Condition = typeof Condition.Type

export const Order = Schema.Struct({ column: Schema.String, descending: Schema.Boolean })
export type Order = typeof Order.Type

const COMPARISONS: ReadonlyArray<Operator> = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "isdistinct"]
const PATTERNS: ReadonlyArray<Operator> = ["like", "ilike"]
const isPattern = (operator: Operator) => PATTERNS.includes(operator)

/** Those that work on a column. */
export const operatorsOf = (column: Column): ReadonlyArray<Operator> => [
  ...(column.ordered ? COMPARISONS : []),
  ...(isString(column) ? PATTERNS : []),
  "is"
]

const STATES = ["null", "not_null", "true", "false", "unknown"]
const FILTER = new RegExp(`^(not\\.)?(${operators.join("|")})\\.(.*)$`, "s")

/** Whether a filter says its operator; else it is a value to be equal to. */
export const hasOperator = (filter: string): boolean => FILTER.test(filter)

/** Reads a filter as PostgREST has them, `gte.100`, `not.in.(US,UK)`, or a bare value; a text says what is wrong with it. */
export const parseFilter = (filter: string, column: Column): Condition | string => {
  const [, not, operator = "eq", text = filter] = (FILTER.exec(filter) ?? []) as ReadonlyArray<string | undefined> as [
    string?,
    string?,
    Operator?,
    string?
  ]
  const allowed = operatorsOf(column)
  if (!allowed.includes(operator))
    return `cannot be compared by ${operator}: it is of type ${column.type}, which knows ${allowed.join(", ")}`
  const values = operator === "in" ? parseList(text) : [text]
  if (values === undefined) return `must be a list such as in.(a,b) or in.("a,b",c), not ${show(text)}`
  if (operator === "is" && !isState(text, column))
    return `must be is.null or is.not_null${column.category === "B" ? ", is.true, is.false or is.unknown" : ""}, not ${show(filter)}`
  if (isPattern(operator) && /^(?:[^\\]|\\.)*\\$/s.test(text))
    return `must not end in a backslash that nothing follows, as in ${show(text)}`
  const canonical = values.map((value) =>
    isPattern(operator) ? value.replaceAll("*", "%") : column.base === "numeric" ? canonicalDecimal(value) : value
  )
  return {
    column: column.name,
    not: not !== undefined,
    operator,
    values: operator === "in" ? [...new Set(canonical)].toSorted() : canonical
  }
}

const isState = (text: string, { category }: Column) => STATES.slice(0, category === "B" ? 5 : 2).includes(text)

/** `(a,"b,c","d\"e")`; undefined when it is no such list. */
const parseList = (text: string): ReadonlyArray<string> | undefined => {
  const values: Array<string> = []
  const item = /(?:"((?:[^"\\]|\\.)*)"|([^",()]*))([,)])/suy
  if (!text.startsWith("(")) return undefined
  item.lastIndex = 1
  for (let found; (found = item.exec(text));) {
    const [, quoted, bare = "", end] = found
    values.push(quoted?.replaceAll(/\\(.)/gsu, "$1") ?? bare)
    if (end === ")") return item.lastIndex === text.length ? values : undefined
  }
  return undefined
}

/** One form for equal decimals, which stay text: a float would round them. What is none stays as it is. */
const canonicalDecimal = (value: string): string => {
  if (!/^-?\d+(\.\d+)?$/.test(value)) return value
  const [whole = "", fraction = ""] = value.replace("-", "").split(".")
  const digits = [whole.replace(/^0+(?=\d)/, ""), fraction.replace(/0+$/, "")].filter((part) => part !== "").join(".")
  return value.startsWith("-") && digits !== "0" ? `-${digits}` : digits
}

/** A wrong value as an error may show it: quoted, escaped, short. */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** Equal sets of conditions become equal lists. */
export const sortConditions = (conditions: ReadonlyArray<Condition>): ReadonlyArray<Condition> => {
  const byText = new Map(conditions.map((condition) => [JSON.stringify(condition), condition]))
  return [...byText.keys()].toSorted().map((key) => byText.get(key)!)
}
