import { limits } from "../../limits.ts"
import { parseFieldName } from "../../datasets/filters/field-name.ts"
import { hasOperatorForm } from "../../datasets/filters/filter.ts"
import { groupNamed, TOO_DEEP, type WrittenTree } from "../../datasets/filters/filter-tree.ts"
import type { Filter } from "../../exports/filters.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import { isObject, textOf } from "./json-value.ts"
import { checkText, type Read } from "./query.ts"

const FILTER = "must be a filter such as gte.100, or a list of filters"
const SEVERAL = "is a list of filters that must all hold, so each needs its operator; in.(1,2) is one of several values"
const GROUP = 'must be a list of objects such as {"id": "gte.100"}'

type Members = Readonly<Record<string, unknown>>

/**
 * Reads the filters of a JSON object such as
 * `{"or": [{"id": "lt.10"}, {"id": "gt.99"}], "name": ["like.A*", "neq.Ada"]}`. All members of an object must hold. A
 * member with the name of a group is a group if it is a list with objects.
 */
export const filtersOf = (where: Members): Read<ReadonlyArray<Filter>> => {
  const errors: Array<FieldProblem> = []
  const refuse = (field: string, detail: string): [] => {
    errors.push({ field, detail })
    return []
  }

  const filterOf = (key: string, filter: unknown, field: string, isAlone: boolean): ReadonlyArray<WrittenTree> => {
    const text = filter === null ? "is.null" : textOf(filter)
    if (text === undefined) return refuse(field, FILTER)
    // All of a list must hold, and no column is equal to several values.
    if (!isAlone && !hasOperatorForm(text)) return refuse(field, SEVERAL)
    const wrong = checkText(text) ?? checkText(key)
    return wrong === undefined ? [{ column: parseFieldName(key), text }] : refuse(field, wrong)
  }

  const membersOf = (key: string, value: unknown, field: string, depth: number): ReadonlyArray<WrittenTree> => {
    const group = groupNamed(key)
    if (group && Array.isArray(value) && value.some(isObject)) {
      if (depth > limits.filterDepth) return refuse(field, TOO_DEEP)
      if (!value.every(isObject)) return refuse(field, GROUP)
      return [{ ...group, filters: value.map((members) => allOf(members, field, depth)) }]
    }
    const filters: ReadonlyArray<unknown> = [value].flat()
    if (filters.length === 0) return refuse(field, group ? GROUP : "is an empty list; leave it out or give a filter")
    return filters.flatMap((filter) => filterOf(key, filter, field, filters.length === 1))
  }

  /** Joins the members of an object into one tree. */
  const allOf = (members: Members, field: string, depth: number): WrittenTree => {
    const filters = Object.entries(members).flatMap(([key, value]) => membersOf(key, value, field, depth + 1))
    if (Object.keys(members).length === 0) refuse(field, GROUP)
    const [first, ...more] = filters
    return first && more.length === 0 ? first : { not: false, operator: "and", filters }
  }

  const values = Object.entries(where).flatMap(([key, value]) => {
    const field = `where.${key}`
    return membersOf(key, value, field, 1).map((tree) => ({ field, tree }))
  })
  return { values, errors }
}
