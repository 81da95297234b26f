import { type Column } from "../column.ts"
import { limits } from "../../limits.ts"
import { show, type Condition } from "./conditions.ts"
import { hasTooManyDigits } from "./digits.ts"
import {
  isExpression,
  isOfType,
  isPattern,
  isQuantifiable,
  isSearch,
  operators,
  operatorsOf,
  type Operator
} from "./operators.ts"
import { Scanner } from "../scanner.ts"

const NAMES = operators.join("|")
/** Matches a filter with an operator, such as `not.like(any).{a*,b*}`. */
const FILTER = new RegExp(String.raw`^(not\.)?(${NAMES})(?:\(([^()]*)\))?\.(.*)$`, "s")
/** Matches what begins like an operator, known or not: letters before a dot, or an operator's name before a parenthesis. */
const FORM = new RegExp(String.raw`^(?:not\.)?(?:[a-z_]+(?:\([^()]*\))?\.|(?:${NAMES})\()`, "is")
/** Matches the name of a language. PostgreSQL takes a number for an object id, and one that is none fails as an internal error. */
const LANGUAGE = /^[\p{L}_][\p{L}\p{Nd}_ $]*$/u
const STATES = ["null", "not_null", "true", "false", "unknown"]

/** Says whether a filter begins like an operator. If not, it is a value that is compared for equality. */
export const hasOperatorForm = (filter: string): boolean => FORM.test(filter)
/** Says whether a filter has one of the known operators. */
export const hasOperator = (filter: string): boolean => FILTER.test(filter)

/** Reads a filter in PostgREST's grammar (`gte.100`, `not.in.(US,UK)`) or a bare value. A string says what is wrong. */
export const parseFilter = (filter: string, column: Column): Condition | string => {
  const [, not, operator = "eq", modifier, text = filter] = (FILTER.exec(filter) ?? []) as ReadonlyArray<string | undefined> as [
    string?,
    string?,
    Operator?,
    string?,
    string?
  ]
  const wrong = FILTER.test(filter)
    ? checkOperator(operator, modifier, column)
    : hasOperatorForm(filter)
      ? `has an unknown operator in ${show(filter)}; the operators of type ${column.type} are ${operatorsOf(column).join(", ")}`
      : checkOperator("eq", undefined, column)
  if (wrong !== undefined) return wrong + hint(filter, column)
  const values = operator === "in" ? parseList(text) : modifier === undefined || isSearch(operator) ? [text] : parseArray(text)
  if (typeof values === "string") return values + (operator === "in" ? hint(filter, column) : "")
  const mistake = checkValues(operator, values, column, filter)
  if (mistake !== undefined) return mistake
  const canonical = values.map((value) => canonicalValue(operator, value, column))
  return {
    column: column.name,
    ...(column.path && { path: column.path }),
    not: not !== undefined,
    operator,
    ...(modifier !== undefined && (isSearch(operator) ? { language: modifier } : { quantifier: modifier as "any" | "all" })),
    values: operator === "in" || (modifier !== undefined && !isSearch(operator)) ? [...new Set(canonical)].toSorted() : canonical
  }
}

/** Explains how to write a value that looks like an operator. */
const hint = (filter: string, { ordered }: Column): string =>
  ordered && !filter.startsWith("eq.") ? `; to compare with that value itself, write ${show(`eq.${filter}`)}` : ""

const checkOperator = (operator: Operator, modifier: string | undefined, column: Column): string | undefined => {
  const known = operatorsOf(column)
  if (!known.includes(operator))
    return `cannot be filtered by ${operator}: its type ${column.type} has the operators ${known.join(", ")}`
  if (modifier === undefined) return undefined
  if (isSearch(operator))
    return LANGUAGE.test(modifier) ? undefined : `must name a language such as ${operator}(english), not ${show(modifier)}`
  if (!isQuantifiable(operator, column)) {
    const able = known.filter((one) => isQuantifiable(one, column))
    return `cannot have ${show(`${operator}(${modifier})`)}; on type ${column.type} ${able.join(", ") || "no operator"} may have (any) or (all)`
  }
  return modifier === "any" || modifier === "all"
    ? undefined
    : `must have ${operator}(any) or ${operator}(all), not ${show(modifier)}`
}

const checkValues = (operator: Operator, values: ReadonlyArray<string>, column: Column, filter: string): string | undefined => {
  if (operator === "is" && !STATES.slice(0, column.category === "B" ? 5 : 2).includes(values[0]!.toLowerCase()))
    return `must be is.null or is.not_null${column.category === "B" ? ", is.true, is.false or is.unknown" : ""}, not ${show(filter)}`
  const unfinished = isPattern(operator) ? values.find((value) => /^(?:[^\\]|\\.)*\\$/s.test(value)) : undefined
  if (unfinished !== undefined) return `must not end in a backslash that nothing follows, as in ${show(unfinished)}`
  const long = isOfType(operator) ? values.find((value) => hasTooManyDigits(value, column)) : undefined
  return long === undefined ? undefined : `has a number of more than ${limits.numberDigits} digits, in ${show(long)}`
}

const canonicalValue = (operator: Operator, value: string, { base }: Column): string => {
  if (operator === "is") return value.toLowerCase()
  if (isPattern(operator)) return value.replaceAll("*", "%")
  return base === "numeric" && !isExpression(operator) ? canonicalDecimal(value) : value
}

const ITEM = /[^,)]*/suy
const ITEM_END = /,|\)[ \t]*/y

/**
 * Takes a list such as `(a,"b,c",d "e")`; returns undefined when there is none. Quotes that do not enclose a whole item
 * are part of it, and `()` has no items.
 */
export const takeList = (scanner: Scanner): ReadonlyArray<string> | undefined => {
  if (!scanner.take(/[ \t]*\([ \t]*/y)) return undefined
  if (scanner.take(/\)[ \t]*/y)) return []
  return scanner.takeList(() => takeValue(scanner, ITEM), ITEM_END)
}

/** Takes a value in a list: one in double quotes, or what `bare` matches. */
export const takeValue = (scanner: Scanner, bare: RegExp): string => {
  const start = scanner.at
  const quoted = scanner.takeQuoted("value")
  if (quoted !== undefined && scanner.isBefore(/[,)]/)) return quoted
  scanner.at = start
  return scanner.take(bare)![0]
}

const parseList = (text: string): ReadonlyArray<string> | string => {
  const scanner = new Scanner(text)
  const values = takeList(scanner)
  return values && scanner.isAtEnd ? values : `must be a list such as in.(a,b) or in.("a,b",c), not ${show(text)}`
}

const BARE_ITEM = /(?:[^",{}\\\s]|\\.)(?:[^",{}\\]|\\.)*/suy
const ARRAY_END = /\s*(?:,|\}\s*$)\s*/y

/** Removes space from the end of an item, except where a backslash precedes it. */
const trimmed = (item: string): string => {
  const characters = item.match(/\\.|[^\\]/gsu) ?? []
  return characters.slice(0, characters.findLastIndex((one) => /\S/.test(one) || one.length > 1) + 1).join("")
}

/** Reads a list such as `{a,"b,c"}`, as PostgreSQL reads an array of one dimension. A string says what is wrong. */
const parseArray = (text: string): ReadonlyArray<string> | string => {
  if (/^\s*\{\s*\}\s*$/.test(text)) return []
  const scanner = new Scanner(text)
  let hasNull = false
  const takeItem = () => {
    const quoted = scanner.takeQuoted("value")
    if (quoted !== undefined) return quoted
    const bare = scanner.take(BARE_ITEM)
    const item = bare && trimmed(bare[0])
    hasNull ||= item !== undefined && /^null$/i.test(item)
    return item?.replaceAll(/\\(.)/gsu, "$1")
  }
  const values = scanner.take(/\s*\{\s*/y) && scanner.takeList(takeItem, ARRAY_END)
  if (hasNull) return `cannot have NULL in ${show(text)}; is.null asks for it`
  return values ?? `must be a list such as {a,"b,c"}, not ${show(text)}`
}

/** Gives equal decimals one form. They stay text, since a float would round them; what is no decimal stays as it is. */
const canonicalDecimal = (value: string): string => {
  if (!/^-?\d+(\.\d+)?$/.test(value)) return value
  const [whole = "", fraction = ""] = value.replace("-", "").split(".")
  const digits = [whole.replace(/^0+(?=\d)/, ""), fraction.replace(/0+$/, "")].filter((part) => part !== "").join(".")
  return value.startsWith("-") && digits !== "0" ? `-${digits}` : digits
}
