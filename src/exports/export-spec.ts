import { Schema } from "effect"
import { ConditionTree, leavesOf, Order } from "../datasets/filters/conditions.ts"
import { Path } from "../datasets/filters/json-path.ts"
import { Format } from "../formats/format.ts"

/**
 * What to export: validated and canonical, so that equal requests have equal specs.
 * `columns` is always the full list, decimals have no superfluous zeros, `total` is absent for all rows.
 */
export const ExportSpec = Schema.Struct({
  /** Its name. */
  dataset: Schema.String,
  /** With the types when it was asked for: an export of other ones would not be what was asked for. */
  columns: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      type: Schema.String,
      path: Schema.optional(Path),
      label: Schema.optional(Schema.String)
    })
  ),
  /** All of them hold, beside the dataset's own. */
  conditions: Schema.Array(ConditionTree),
  order: Schema.Array(Order),
  total: Schema.optional(Schema.Int),
  format: Format
})
export type ExportSpec = typeof ExportSpec.Type

/** Whether the spec has members that the version before this one would leave out without an error. */
const hasNewMembers = ({ columns, conditions, order }: ExportSpec): boolean =>
  [...columns, ...leavesOf(conditions), ...order].some((one) => "path" in one || "quantifier" in one || "nulls" in one)

/**
 * Returns the spec as it is stored. During an upgrade, instances of the version before take jobs from the same queue. They
 * ignore members that they do not know, so `doc->>name` would become all of `doc`. A spec with such members is stored with
 * its `order` under another name: those instances require `order`, and refuse the spec instead of misreading it.
 */
export const toStoredSpec = (spec: ExportSpec): object => {
  const { order, ...rest } = spec
  return hasNewMembers(spec) ? { ...rest, orderBy: order } : spec
}

/** Reads a stored spec. Fails for one of a later version that has members which this version does not know. */
export const fromStoredSpec = (stored: unknown) => {
  const { orderBy, ...rest } = stored as { readonly orderBy?: unknown }
  return Schema.decodeUnknown(ExportSpec, { onExcessProperty: "error" })(
    orderBy === undefined ? stored : { ...rest, order: orderBy }
  )
}
