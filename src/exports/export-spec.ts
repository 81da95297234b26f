import { Data, Effect, Schema } from "effect"
import { ConditionTree, Order } from "../datasets/filters/conditions.ts"
import { Path } from "../datasets/filters/json-path.ts"
import { defaultFormat } from "../formats/csv/csv-format.ts"
import { Format } from "../formats/format.ts"

/**
 * What to export: validated and canonical, so that equal requests have equal specs.
 * `columns` is always the full list, decimals have no superfluous zeros, `total` is absent for all rows.
 */
export const ExportSpec = Schema.Struct({
  /** Its name. */
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

/** A stored spec cannot be read. `message` is for people who export. */
export class UnreadableSpec extends Data.TaggedError("UnreadableSpec")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * The version of the specs that this service stores. It rises with each change that the version before would not read
 * rightly. During a rolling upgrade instances of two versions take jobs from one queue: each reads the specs of the version
 * before its own, and refuses those of a later one instead of misreading them.
 *
 * - 1: without the member `version`. `order` is called `orderBy` where a path, a quantifier or the place of nulls occurs. The
 *   format is CSV and does not say so.
 * - 2: `format` says its kind.
 */
const VERSION = 2

/** Returns the spec as it is stored. */
export const toStoredSpec = (spec: ExportSpec): object => ({ version: VERSION, ...spec })

/** Reads the format of a stored spec of any version. Options that it does not know yet have their defaults. */
export const fromStoredFormat = (stored: unknown): Format => ({ ...defaultFormat, ...(stored as Partial<Format> | null) })

const fromVersion1 = ({ order, orderBy = order, format, ...rest }: Readonly<Record<string, unknown>>) => ({
  ...rest,
  order: orderBy,
  format: { kind: "csv", ...(format as object) }
})

/** Reads a stored spec. Members that the spec's version does not have are refused. */
export const fromStoredSpec = (stored: unknown): Effect.Effect<ExportSpec, UnreadableSpec> => {
  const { version = 1, ...spec } = stored as Readonly<Record<string, unknown>>
  if (version !== 1 && version !== VERSION) {
    const message =
      `Cannot read what was to be exported: its spec has the version ${JSON.stringify(version)}, ` +
      `and this version of the service reads 1 and ${VERSION}. Create the export again.`
    return Effect.fail(new UnreadableSpec({ message }))
  }
  return Schema.decodeUnknown(ExportSpec, { onExcessProperty: "error" })(version === 1 ? fromVersion1(spec) : spec).pipe(
    Effect.mapError((cause) => {
      const message = "Cannot read what was to be exported: another version of the service wrote it. Create the export again."
      return new UnreadableSpec({ message, cause })
    })
  )
}
