import { limits } from "../../limits.ts"
import { show } from "./conditions.ts"
import type { FieldName } from "./field-name.ts"
import { takeList, takeValue } from "./filter.ts"
import { takePath } from "./json-path.ts"
import { Scanner } from "../scanner.ts"

/** A filter as a request writes it, such as `gte.100` on a column. */
export interface WrittenFilter {
  readonly column: FieldName
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
const VALUE = /\{[^{}]*\}(?=[,)])|[^,)]*/suy

/**
 * Reads the list of an `or` or an `and` in PostgREST's grammar: `(id.lt.10,not.and(name.like.*son,"a b".in.(1,2)))`.
 * Values with a comma or a parenthesis stand in double quotes. A string says what is wrong.
 */
export const parseFilterList = (text: string): ReadonlyArray<WrittenTree> | string => {
  const scanner = new Scanner(text)
  let isTooDeep = false
  const takeFilters = (depth: number): ReadonlyArray<WrittenTree> | undefined => {
    isTooDeep ||= depth > limits.filterDepth
    return !isTooDeep && scanner.take(OPEN) ? scanner.takeList(() => takeTree(depth), END) : undefined
  }
  const takeTree = (depth: number): WrittenTree | undefined => {
    const [name, not, operator] = scanner.take(GROUP) ?? []
    if (name === undefined) return takeFilter(scanner)
    const filters = takeFilters(depth + 1)
    return filters && { not: not !== undefined, operator: operator === "or" ? "or" : "and", filters }
  }
  const filters = takeFilters(1)
  if (isTooDeep) return TOO_DEEP
  if (filters && scanner.isAtEnd) return filters
  const place = scanner.rest === "" ? "it ends too early" : `not ${show(scanner.rest)} in it`
  return `must be a list of filters such as (id.lt.10,not.and(name.like.*son,"a b".in.(1,2))); ${place}`
}

/** Takes a filter that is written as `column.operator.value`. */
const takeFilter = (scanner: Scanner): WrittenFilter | undefined => {
  const start = scanner.at
  const name = scanner.takeQuoted("name") ?? scanner.take(BARE_NAME)?.[0].trim()
  const path = takePath(scanner)
  const written = scanner.text.slice(start, scanner.at).trim()
  if (name === undefined || !scanner.take(/[ \t]*\./y)) return undefined
  const operator = scanner.take(OPERATOR)?.[0]
  if (operator === undefined) return undefined
  const value = /^(?:not\.)?in\.$/.test(operator) ? takeListText(scanner) : takeValue(scanner, VALUE)
  const text = /^(?:not\.)?is\.$/.test(operator) ? value?.trim() : value
  return text === undefined ? undefined : { column: { name, path, written }, text: operator + text }
}

const takeListText = (scanner: Scanner): string | undefined => {
  const start = scanner.at
  return takeList(scanner) && scanner.text.slice(start, scanner.at).trim()
}
