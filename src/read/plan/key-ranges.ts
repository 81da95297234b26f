import { type Statement } from "../../source/statement.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { Identity, Part } from "../sql/statement.ts"

/** A table read in the order of its key, in ranges that begin and end at `splitPoints`; the outer two are open. */
export interface KeyRanges extends Identity {
  readonly column: string
  readonly descending: boolean
  /** Ascending, each once. */
  readonly splitPoints: ReadonlyArray<bigint>
}

const WHOLE_NUMBERS = new Set(["smallint", "integer", "bigint"])

/** The column of an export's order where that is the dataset's key, and a whole number: then ranges of it can be read by themselves. */
export const orderedKey = ({ order: [first, ...more] }: ExportSpec, { key, columns }: Dataset): string | undefined => {
  const [column, ...others] = key
  const isKey = first !== undefined && first.column === column && !first.path && more.length + others.length === 0
  const base = isKey ? columns.get(column)?.base : undefined
  return base !== undefined && WHOLE_NUMBERS.has(base) ? column : undefined
}

/** Values of a column with as many rows between each two, as text; none: the table was not analyzed. */
export const histogramStatement = ({ schema, table }: Dataset, column: string): Statement => ({
  text: `
    select unnest(histogram_bounds::text::bigint[])::text as bound from pg_stats
    where schemaname = $1 and tablename = $2 and attname = $3 and not inherited`,
  values: [schema, table, column]
})

/** Bounds of `count` ranges with about as many rows each, between those of the histogram in proportion. */
export const splitPointsOf = (histogram: ReadonlyArray<bigint>, count: number): ReadonlyArray<bigint> => {
  const buckets = histogram.length - 1
  if (buckets < 1) return []
  const splitPoints = new Set<bigint>()
  for (let range = 1; range < count; range++) {
    const place = (range * buckets) / count
    const [low, high] = [histogram[Math.floor(place)]!, histogram[Math.floor(place) + 1]!]
    // In millionths: the numbers are too large for floats.
    splitPoints.add(low + ((high - low) * BigInt(Math.round((place % 1) * 1e6))) / 1_000_000n)
  }
  return [...splitPoints]
}

/** The parts, in the order of the file. */
export function* keyParts({ column, descending, splitPoints, ...relation }: KeyRanges): Generator<Part> {
  const ends = [undefined, ...splitPoints, undefined]
  const ranges = ends.slice(1).map((to, at) => ({ column, from: ends[at], to }))
  for (const keys of descending ? ranges.toReversed() : ranges) yield { ...relation, keys }
}
