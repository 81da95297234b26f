import { limits } from "../../limits.ts"
import { parseFieldName } from "../../datasets/filters/field-name.ts"
import { hasOperatorForm } from "../../datasets/filters/filter.ts"
import { groupNamed, TOO_DEEP, type WrittenTree } from "../../datasets/filters/filter-tree.ts"
import type { Filter } from "../../exports/filters.ts"
import { isObject, textOf } from "./json-value.ts"

const FILTER = "must be a filter such as gte.100, or a list of such"
const SEVERAL = "is a list of filters that must all hold, so each needs its operator; in.(1,2) is one of several values"
const GROUP = 'must be a list of objects such as {"id": "gte.100"}'

/** Accepts a text if nothing is wrong with it. `what` says what the field must be, in case there is no text. */
type Take = (field: string, text: string | undefined, what: string) => string | undefined

/**
 * Reads the filters of a JSON object such as
 * `{"or": [{"id": "lt.10"}, {"id": "gt.99"}], "name": ["like.A*", "neq.Ada"]}`. All members of an object must hold. A
 * member with the name of a group is a group if it is a list with objects.
 */
export const filtersOf = (where: Readonly<Record<string, unknown>>, take: Take): ReadonlyArray<Filter> =>
  Object.entries(where).flatMap(([key, value]) => {
    const field = `where.${key}`
    return membersOf(key, value, field, take, 1).map((tree) => ({ field, tree }))
  })

const membersOf = (key: string, value: unknown, field: string, take: Take, depth: number): ReadonlyArray<WrittenTree> => {
  const group = groupNamed(key)
  if (group && Array.isArray(value) && value.some(isObject)) {
    const isWrong = depth > limits.filterDepth || !value.every(isObject)
    if (isWrong) {
      take(field, undefined, depth > limits.filterDepth ? TOO_DEEP : GROUP)
      return []
    }
    return [{ ...group, filters: value.map((one) => allOf(one, field, take, depth)) }]
  }
  const filters: ReadonlyArray<unknown> = [value].flat()
  if (filters.length === 0) take(field, undefined, group ? GROUP : "is an empty list; leave it out or give a filter")
  return filters.flatMap((one): ReadonlyArray<WrittenTree> => {
    const given = one === null ? "is.null" : textOf(one)
    // All of a list must hold, and no column is equal to several values.
    const isBare = filters.length > 1 && given !== undefined && !hasOperatorForm(given)
    const text = take(field, isBare ? undefined : given, isBare ? SEVERAL : FILTER)
    const name = take(field, key, FILTER)
    return text === undefined || name === undefined ? [] : [{ on: parseFieldName(name), text }]
  })
}

/** Joins the members of an object into one tree. */
const allOf = (object: Readonly<Record<string, unknown>>, field: string, take: Take, depth: number): WrittenTree => {
  const filters = Object.entries(object).flatMap(([key, value]) => membersOf(key, value, field, take, depth + 1))
  const [one, ...more] = filters
  if (Object.keys(object).length === 0) take(field, undefined, GROUP)
  return one && more.length === 0 ? one : { not: false, operator: "and", filters }
}
