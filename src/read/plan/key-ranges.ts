import type { Dataset } from "../../datasets/dataset.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { Statement } from "../../source/statement.ts"
import type { PartRange, RelationIdentity } from "../sql/statement.ts"

/** A table that is read in the order of its key, in ranges between `splitPoints`. The outer two ranges are open. */
export interface KeyRanges extends RelationIdentity {
  readonly kind: "keys"
  readonly column: string
  readonly descending: boolean
  /** Ascending and distinct. */
  readonly splitPoints: ReadonlyArray<bigint>
}

const WHOLE_NUMBERS = new Set(["smallint", "integer", "bigint"])

/** Returns the column by which an export is sorted if that is the dataset's key and a whole number, so that it can be split. */
export const orderedKey = ({ order: [first, ...more] }: ExportSpec, { key, columns }: Dataset): string | undefined => {
  const [column, ...others] = key
  const isKey = first !== undefined && first.column === column && !first.path && more.length + others.length === 0
  const base = isKey ? columns.get(column)?.base : undefined
  return base !== undefined && WHOLE_NUMBERS.has(base) ? column : undefined
}

/** Selects `histogram_bounds` of a column, the edges of buckets with equally many rows. No rows: the table was never analyzed. */
export const histogramStatement = ({ schema, table }: Dataset, column: string): Statement => ({
  text: `
    select unnest(histogram_bounds::text::bigint[])::text as bound from pg_stats
    where schemaname = $1 and tablename = $2 and attname = $3 and not inherited`,
  values: [schema, table, column]
})

/** Returns the points that split a key into `count` ranges with about as many rows each, interpolated in the histogram. */
export const splitPointsOf = (histogram: ReadonlyArray<bigint>, count: number): ReadonlyArray<bigint> => {
  const buckets = histogram.length - 1
  if (buckets < 1) return []
  const splitPoints = new Set<bigint>()
  for (let range = 1; range < count; range++) {
    const place = (range * buckets) / count
    const [low, high] = [histogram[Math.floor(place)]!, histogram[Math.floor(place) + 1]!]
    // In millionths, since the numbers are too large for floats.
    splitPoints.add(low + ((high - low) * BigInt(Math.round((place % 1) * 1e6))) / 1_000_000n)
  }
  return [...splitPoints]
}

/** Yields the parts in the order of the file. */
export function* keyParts({ column, descending, splitPoints, ...relation }: KeyRanges): Generator<PartRange> {
  const ends = [undefined, ...splitPoints, undefined]
  const ranges = ends.slice(1).map((to, nth) => ({ column, from: ends[nth], to }))
  for (const range of descending ? ranges.toReversed() : ranges) yield { ...relation, kind: "keys", ...range }
}
