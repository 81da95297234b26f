import { limits } from "../../limits.ts"
import { show } from "./conditions.ts"
import type { FieldName } from "./field-name.ts"
import { takeList } from "./filter.ts"
import { takePath } from "./json-path.ts"
import { QUOTED_NAME, QUOTED_VALUE, Scanner, unescape } from "./scanner.ts"

/** A filter as a request writes it, such as `gte.100` on a column. */
export interface WrittenFilter {
  readonly on: FieldName
  readonly text: string
}

/** Filters of which all (`and`) or at least one (`or`) must hold, or the negation of that. */
export interface WrittenGroup {
  readonly not: boolean
  readonly operator: "and" | "or"
  readonly filters: ReadonlyArray<WrittenTree>
}
export type WrittenTree = WrittenFilter | WrittenGroup

const GROUP_NAME = /^(not\.)?(and|or)$/

/** Reads the name of a parameter or a member as that of a group, such as `not.or`; returns undefined when it is none. */
export const groupNamed = (name: string): Pick<WrittenGroup, "not" | "operator"> | undefined => {
  const [, not, operator] = GROUP_NAME.exec(name) ?? []
  return operator === "and" || operator === "or" ? { not: not !== undefined, operator } : undefined
}

export const TOO_DEEP = `exceeds the limit: lists of \`and\` and \`or\` may be nested at most ${limits.filterDepth} deep`

const GROUP = /(not\.)?(and|or)[ \t]*(?=\()/y
const OPEN = /[ \t]*\([ \t]*/y
const END = /[ \t]*([,)])[ \t]*/y
const BARE_NAME = /(?:(?!->)[^"(),.:])+/uy
const OPERATOR = /(?:not\.)?[A-Za-z_]+(?:\([^()]*\))?\./y
const ARRAY = /\{[^{}]*\}(?=[,)])/y
const BARE_VALUE = /[^,)]*/y

/**
 * Reads the list of an `or` or an `and` in PostgREST's grammar: `(id.lt.10,not.and(name.like.*son,"a b".in.(1,2)))`.
 * Values with a comma or a parenthesis stand in double quotes. A string says what is wrong.
 */
export const parseFilterList = (text: string): ReadonlyArray<WrittenTree> | string => {
  const scanner = new Scanner(text)
  const filters = takeFilters(scanner, 1)
  if (filters === "deep") return TOO_DEEP
  if (filters && scanner.isAtEnd) return filters
  const place = scanner.rest === "" ? "it ends too early" : `not ${show(scanner.rest)} in it`
  return `must be a list of filters such as (id.lt.10,not.and(name.like.*son,"a b".in.(1,2))); ${place}`
}

const takeFilters = (scanner: Scanner, depth: number): ReadonlyArray<WrittenTree> | "deep" | undefined => {
  if (depth > limits.filterDepth) return "deep"
  if (!scanner.take(OPEN)) return undefined
  const filters: Array<WrittenTree> = []
  for (;;) {
    const group = scanner.take(GROUP)
    const inner = group && takeFilters(scanner, depth + 1)
    if (inner === "deep") return inner
    const not = group?.[1] !== undefined
    const operator = group?.[2] === "or" ? "or" : "and"
    const filter = group ? inner && { not, operator, filters: inner } : takeFilter(scanner)
    if (!filter) return undefined
    filters.push(filter as WrittenTree)
    const end = scanner.take(END)?.[1]
    if (end !== ",") return end === ")" ? filters : undefined
  }
}

/** Takes a filter that is written as `column.operator.value`. */
const takeFilter = (scanner: Scanner): WrittenFilter | undefined => {
  const start = scanner.at
  const quoted = scanner.take(QUOTED_NAME)?.[1]
  const name = quoted === undefined ? scanner.take(BARE_NAME)?.[0].trim() : unescape(quoted)
  const path = takePath(scanner)
  const written = scanner.text.slice(start, scanner.at).trim()
  if (name === undefined || !scanner.take(/[ \t]*\./y)) return undefined
  const operator = scanner.take(OPERATOR)?.[0]
  if (operator === undefined) return undefined
  const value = /^(?:not\.)?in\.$/.test(operator) ? takeListText(scanner) : takeValue(scanner)
  const text = /^(?:not\.)?is\.$/.test(operator) ? value?.trim() : value
  return text === undefined ? undefined : { on: { name, path, written }, text: operator + text }
}

const takeListText = (scanner: Scanner): string | undefined => {
  const start = scanner.at
  return takeList(scanner) && scanner.text.slice(start, scanner.at).trim()
}

const takeValue = (scanner: Scanner): string => {
  const start = scanner.at
  const quoted = scanner.take(QUOTED_VALUE)?.[1]
  if (quoted !== undefined && /[,)]/.test(scanner.text[scanner.at] ?? "")) return unescape(quoted)
  scanner.at = start
  return (scanner.take(ARRAY) ?? scanner.take(BARE_VALUE))![0]
}
