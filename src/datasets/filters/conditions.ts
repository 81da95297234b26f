import { Schema } from "effect"
import { Path } from "./json-path.ts"
import type { Column } from "../column.ts"
import { operators } from "./operators.ts"

/**
 * `column operator values`, or its negation. An operator has one value unless it is `in` or has a quantifier. The
 * language belongs to text search. Conditions are stored as they are, so members that were added later may be missing.
 */
export const Condition = Schema.Struct({
  column: Schema.String,
  path: Schema.optional(Path),
  not: Schema.Boolean,
  operator: Schema.Literal(...operators),
  quantifier: Schema.optional(Schema.Literal("any", "all")),
  language: Schema.optional(Schema.String),
  values: Schema.Array(Schema.String)
})
export type Condition = typeof Condition.Type

/** Conditions of which all (`and`) or at least one (`or`) must hold, or the negation of that. */
export interface Group {
  readonly not: boolean
  readonly operator: "and" | "or"
  readonly conditions: ReadonlyArray<ConditionTree>
}
export type ConditionTree = Condition | Group

const Group = Schema.Struct({
  not: Schema.Boolean,
  operator: Schema.Literal("and", "or"),
  conditions: Schema.Array(Schema.suspend((): Schema.Schema<ConditionTree> => ConditionTree))
})
export const ConditionTree: Schema.Schema<ConditionTree> = Schema.Union(Condition, Group)

export const Order = Schema.Struct({
  column: Schema.String,
  path: Schema.optional(Path),
  descending: Schema.Boolean,
  /** Where NULLs are sorted, if that differs from PostgreSQL's default, in which NULL is larger than any value. */
  nulls: Schema.optional(Schema.Literal("first", "last"))
})
export type Order = typeof Order.Type

export const isGroup = (tree: ConditionTree): tree is Group => "conditions" in tree

/** Lists the conditions of trees in their order. */
export const leavesOf = (trees: ReadonlyArray<ConditionTree>): ReadonlyArray<Condition> =>
  trees.flatMap((tree) => (isGroup(tree) ? leavesOf(tree.conditions) : [tree]))

/** Replaces the conditions of trees by `leaves`, which are in the order of `leavesOf`. */
export const withLeaves = (
  trees: ReadonlyArray<ConditionTree>,
  leaves: IterableIterator<Condition>
): ReadonlyArray<ConditionTree> =>
  trees.map((tree) =>
    isGroup(tree) ? { ...tree, conditions: withLeaves(tree.conditions, leaves) } : (leaves.next().value as Condition)
  )

/** Writes a wrong value for an error: quoted, escaped, short. */
export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

const MOST_NAMED = 50
/** Lists names for an error; the first of them, if there are many. */
export const someOf = (names: ReadonlyArray<string>, most = MOST_NAMED): string =>
  names.length > most ? `${names.slice(0, most).join(", ")} and ${names.length - most} more` : names.join(", ")

/** Flattens nested groups of the same operator, and replaces a group of one by its member. */
const simplified = (tree: ConditionTree): ConditionTree => {
  if (!isGroup(tree)) return tree
  const conditions = canonicalConditions(tree.conditions, tree.operator)
  const [one, ...more] = conditions
  return one && more.length === 0 ? { ...one, not: one.not !== tree.not } : { ...tree, conditions }
}

/** Makes equal lists of equal sets of conditions. */
export const canonicalConditions = (
  conditions: ReadonlyArray<ConditionTree>,
  operator: "and" | "or" = "and"
): ReadonlyArray<ConditionTree> => {
  const flat = conditions.map(simplified).flatMap((tree) => {
    const isSame = isGroup(tree) && tree.operator === operator && !tree.not
    return isSame ? tree.conditions : [tree]
  })
  const byText = new Map(flat.map((tree) => [JSON.stringify(tree), tree]))
  return [...byText.keys()].toSorted().map((key) => byText.get(key)!)
}

/** A condition with its column. */
export interface ColumnCondition {
  readonly condition: Condition
  readonly column: Column
}
