import type { Dataset } from "../../datasets/dataset.ts"
import { findFilterable, parseFieldName } from "../../datasets/filters/field-name.ts"
import { hasOperator, hasOperatorForm } from "../../datasets/filters/filter.ts"
import { groupNamed, parseFilterList } from "../../datasets/filters/filter-tree.ts"
import type { Filter } from "../../exports/filters.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import type { RawParameter, Read } from "./query.ts"

type Pair = RawParameter<string>

/**
 * Splits a query into parameters and filters. The name of a column, a path in a column, and `or` and `and` with a list
 * are filters. A name that is both a column and a declared parameter is the parameter when its value has no operator.
 */
export const splitQuery = (pairs: ReadonlyArray<Pair>, dataset: Dataset, names: ReadonlyArray<string>) => {
  const isColumn = (field: string) => findFilterable(parseFieldName(field), dataset.columns) !== undefined
  const isGroup = ({ field, value }: Pair) =>
    groupNamed(field) !== undefined && (/^\s*\(/.test(value) || !(names.includes(field) || isColumn(field)))
  const isFilter = (pair: Pair) => {
    const { field, value } = pair
    if (isGroup(pair)) return true
    return isColumn(field) && (names.includes(field) ? field in dataset.parameters && hasOperator(value) : true)
  }
  const { parameters = [], filters = [] } = Object.groupBy(pairs, (pair) => (isFilter(pair) ? "filters" : "parameters"))
  return { parameters, filters: readQueryFilters(filters, pairs, isGroup) }
}

/** Reads the filters of a query. As in PostgREST, a column may have several if each has an operator. */
const readQueryFilters = (
  filters: ReadonlyArray<Pair>,
  pairs: ReadonlyArray<Pair>,
  isGroup: (pair: Pair) => boolean
): Read<ReadonlyArray<Filter>> => {
  const values: Array<Filter> = []
  const errors: Array<FieldProblem> = []
  const counts = Map.groupBy(pairs, ({ field }) => field)
  for (const pair of filters) {
    const { field, value } = pair
    const group = isGroup(pair) ? groupNamed(field) : undefined
    const list = group && parseFilterList(value)
    if (typeof list === "string") errors.push({ field, detail: list })
    else if (group && list) values.push({ field, tree: { ...group, filters: list } })
    else if (!hasOperatorForm(value) && counts.get(field)!.length > 1) errors.push({ field, detail: "is given more than once" })
    else values.push({ field, tree: { column: parseFieldName(field), text: value } })
  }
  return { values, errors }
}
