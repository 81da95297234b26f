import type { Dataset } from "../datasets/dataset.ts"
import { leavesOf, withLeaves, type ColumnCondition, type Condition } from "../datasets/filters/conditions.ts"
import { isCast, readConditions } from "../datasets/filters/filter-values.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { SourceSession } from "../source/session.ts"
import { columnsOf } from "./sql/statement.ts"

/** Says whether a value depends on the current time. Within a list, quotes and backslashes may stand in it. */
const isRelative = (one: ColumnCondition): boolean =>
  isCast(one) && one.condition.values.some((value) => /now|today|tomorrow|yesterday/i.test(value.replaceAll(/["\\]/g, "")))

/**
 * Replaces moments such as `now` in a spec by times. Otherwise each session, and so each part of an export, would read
 * them as different times.
 */
export const readMoments = async (session: SourceSession, spec: ExportSpec, dataset: Dataset): Promise<ExportSpec> => {
  const columnOf = columnsOf(dataset)
  const leaves = leavesOf(spec.conditions).map((condition): ColumnCondition => ({ condition, column: columnOf(condition) }))
  if (!leaves.some(isRelative)) return spec
  const read = await readConditions(session, leaves, isRelative)
  return { ...spec, conditions: withLeaves(spec.conditions, read.map(({ condition }): Condition => condition).values()) }
}
