import { Data, Effect, Option, Schema } from "effect"
import { ConditionTree, Order } from "../datasets/filters/conditions.ts"
import { Path } from "../datasets/filters/json-path.ts"
import { defaultFormat } from "../formats/csv/csv-format.ts"
import { Format } from "../formats/format.ts"

/**
 * What to export: validated and canonical, so that equal requests have equal specs.
 * `columns` is always the full list, decimals have no superfluous zeros, `total` is absent for all rows.
 */
export const ExportSpec = Schema.Struct({
  /** The name of the dataset. */
  dataset: Schema.String,
  /** Column types at the time of the request. A job fails if they have changed. */
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

/** A stored spec cannot be read. `message` is for people who export. `isLater`: a newer instance can read it. */
export class UnreadableSpec extends Data.TaggedError("UnreadableSpec")<{
  readonly message: string
  readonly isLater: boolean
  readonly cause?: unknown
}> {}

/**
 * Specs are stored with a version, and a version is written only when the version of the service before this one reads it:
 * during a rolling upgrade, instances of both take jobs from one queue. So this service reads 1 and 2, and writes 1.
 *
 * - 1 has no member `version`. Its format is CSV and does not say so. `order` may be called `orderBy`.
 * - 2 has `version: 2`, and `format` says its kind.
 */
const READ = [1, 2]

/** Returns the spec as it is stored: version 1. */
export const toStoredSpec = ({ format, ...spec }: ExportSpec): object => {
  const { kind: _csv, ...options } = format
  return { ...spec, format: options }
}

/**
 * Reads the format of a stored spec. Options that the spec lacks have their defaults. Undefined: a newer instance has made
 * the file, in a format that this one does not know.
 */
export const fromStoredFormat = (stored: unknown): Format | undefined =>
  Option.getOrUndefined(Schema.decodeUnknownOption(Format)({ ...defaultFormat, ...(stored as object | null) }))

const fromVersion1 = ({ order, orderBy, format, ...rest }: Readonly<Record<string, unknown>>) => ({
  ...rest,
  order: orderBy ?? order,
  format: { kind: "csv", ...(format as object) }
})

/** Reads a stored spec. Members that the spec's version does not have are refused. */
export const fromStoredSpec = (stored: unknown): Effect.Effect<ExportSpec, UnreadableSpec> => {
  const { version = 1, ...spec } = stored as Readonly<Record<string, unknown>>
  if (!READ.includes(version as number)) {
    const message =
      `Cannot read what was to be exported: its spec has the version ${JSON.stringify(version)}, ` +
      `and this version of the service reads ${READ.join(" and ")}`
    return Effect.fail(new UnreadableSpec({ message, isLater: true }))
  }
  return Schema.decodeUnknown(ExportSpec, { onExcessProperty: "error" })(version === 1 ? fromVersion1(spec) : spec).pipe(
    Effect.mapError((cause) => {
      const message = "Cannot read what was to be exported: another version of the service wrote it. Create the export again."
      return new UnreadableSpec({ message, isLater: false, cause })
    })
  )
}
