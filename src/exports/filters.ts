import { limits } from "../limits.ts"
import { someOf, type ColumnCondition, type ConditionTree } from "../datasets/filters/conditions.ts"
import { filterableOf, type Dataset } from "../datasets/dataset.ts"
import { findFilterable } from "../datasets/filters/field-name.ts"
import { parseFilter } from "../datasets/filters/filter.ts"
import { TOO_DEEP, type WrittenFilter, type WrittenTree } from "../datasets/filters/filter-tree.ts"

/** A filter or a group of filters, with the field of the request that it comes from. */
export interface Filter {
  readonly field: string
  readonly tree: WrittenTree
}

/** A condition with its column and its place in the request. */
export interface RequestCondition extends ColumnCondition {
  readonly field: string
  /** The name that the filter is written for, if its field is the name of a group. */
  readonly inGroup: string | undefined
}

/** What is wrong with a field of a request. */
export interface Mistake {
  readonly field: string
  readonly detail: string
}

/** How many characters of a name an error shows; the key of a path may have thousands. */
const NAME_SHOWN = 60

/** Says of a filter's field what is wrong with the filter. */
export const mistakeIn = ({ field, inGroup }: Pick<RequestCondition, "field" | "inGroup">, detail: string): Mistake => ({
  field: field.slice(0, NAME_SHOWN),
  detail: inGroup === undefined ? detail : `holds a filter on ${inGroup} that ${detail}`
})

/** Joins the mistakes of one field into one. */
export const joinMistakes = (mistakes: ReadonlyArray<Mistake>): ReadonlyArray<Mistake> =>
  [...Map.groupBy(mistakes, ({ field }) => field)].map(([field, ofField]) => ({
    field,
    detail: [...new Set(ofField.map(({ detail }) => detail))].join("; ")
  }))

/** Returns the conditions of filters as trees and one by one, with all mistakes in them. */
export const readFilters = (filters: ReadonlyArray<Filter>, dataset: Dataset) => {
  const leaves: Array<RequestCondition> = []
  const mistakes: Array<Mistake> = []
  let nodes = 0
  let values = 0
  /** Whether the request has exceeded a limit; the filters that follow are then not read. */
  let isFull = false

  const exceed = (field: string, most: string) => {
    isFull = true
    mistakes.push(mistakeIn({ field, inGroup: undefined }, `exceeds the limit: ${most}`))
  }

  const readOne = ({ column: name, text }: WrittenFilter, field: string, depth: number): ConditionTree | undefined => {
    const column = findFilterable(name, dataset.columns)
    const inGroup = depth > 0 ? name.written.slice(0, NAME_SHOWN) : undefined
    const unknown = () => `is not a filterable column; filterable: ${someOf(filterableOf(dataset)) || "none"}`
    const condition =
      typeof column === "object" ? parseFilter(text, column) : column === undefined ? unknown() : `cannot be followed: ${column}`
    values += typeof condition === "string" ? 1 : condition.values.length
    if (values > limits.filterValues) {
      exceed(field, `the filters of a request may have at most ${limits.filterValues} values together`)
      return undefined
    }
    if (typeof condition === "string") {
      mistakes.push(mistakeIn({ field, inGroup }, condition))
      return undefined
    }
    leaves.push({ condition, column: column as RequestCondition["column"], field, inGroup })
    return condition
  }

  const read = (tree: WrittenTree, field: string, depth: number): ReadonlyArray<ConditionTree> => {
    if (isFull) return []
    nodes += 1
    if (nodes > limits.filterNodes) {
      exceed(field, `a request may have at most ${limits.filterNodes} filters, each \`and\` and \`or\` counted as one`)
      return []
    }
    if (!("filters" in tree)) return [readOne(tree, field, depth)].filter((one) => one !== undefined)
    if (depth >= limits.filterDepth) {
      mistakes.push({ field, detail: TOO_DEEP })
      return []
    }
    const { not, operator } = tree
    return [{ not, operator, conditions: tree.filters.flatMap((one) => read(one, field, depth + 1)) }]
  }

  const conditions = filters.flatMap(({ field, tree }) => read(tree, field, 0))
  return { conditions, leaves, errors: joinMistakes(mistakes) }
}
