import { Schema } from "effect"
import type { Column } from "./dataset.ts"
import { QUOTED_NAME, unescape, type Scanner } from "./scanner.ts"

/** A step into a JSON value, by a key or by the position in an array: `->` gives JSON, `->>` gives text. */
const Step = Schema.Struct({ arrow: Schema.Literal("->", "->>"), key: Schema.Union(Schema.String, Schema.Int) })
type Step = typeof Step.Type
export const Path = Schema.NonEmptyArray(Step)
export type Path = typeof Path.Type

const ARROW = /->>?/y
const INDEX = /-?\d+(?=->|[.,:)]|$)/y
/**
 * Matches a key without quotes as PostgREST does: a key with another character needs them, and so does one with a dash at
 * either end or beside another dash.
 */
const KEY = /(?!")[^(\-:.,>)]+(?:-(?!>)[^(\-:.,>)]+)*/uy

/** Takes a path such as `->a->>0`; returns undefined, and takes nothing, when there is none here or it is malformed. */
export const takePath = (scanner: Scanner): Path | undefined => {
  const start = scanner.at
  const steps: Array<Step> = []
  for (let arrow; (arrow = scanner.take(ARROW)?.[0]);) {
    const key = takeKey(scanner)
    if (key === undefined) {
      scanner.at = start
      return undefined
    }
    steps.push({ arrow: arrow === "->>" ? "->>" : "->", key })
  }
  const [first, ...more] = steps
  return first && [first, ...more]
}

const takeKey = (scanner: Scanner): string | number | undefined => {
  const index = scanner.take(INDEX)?.[0]
  if (index !== undefined) return Number(index)
  const quoted = scanner.take(QUOTED_NAME)?.[1]
  const key = quoted === undefined ? scanner.take(KEY)?.[0].trim() : unescape(quoted)
  return key === undefined || key.includes("\0") || !key.isWellFormed() ? undefined : key
}

/** The largest position in an array that PostgreSQL accepts. */
const MOST = 2_147_483_647

/** Returns the type in which the paths of a column begin. Arrays and composite values are converted to JSON. */
export const jsonTypeOf = ({ base, category }: Pick<Column, "base" | "category">): "json" | "jsonb" | undefined =>
  base === "json" ? "json" : base === "jsonb" || category === "A" || category === "C" ? "jsonb" : undefined

/** Returns the values at a path in a column as a column. A string says why there can be none. */
export const columnAt = (column: Column, path: Path): Column | string => {
  const json = jsonTypeOf(column)
  if (!json) return `${column.name} is of type ${column.type}, and only JSON, arrays and composite values have paths`
  if (path.slice(0, -1).some(({ arrow }) => arrow === "->>")) return "only the last arrow of a path can be ->>"
  if (path.some(({ key }) => typeof key === "number" && Math.abs(key) > MOST)) return `a position is at most ${MOST}`
  const type = path.at(-1)!.arrow === "->>" ? "text" : json
  return {
    ...column,
    path,
    madeJson: column.base !== json,
    type,
    base: type,
    category: type === "text" ? "S" : "U",
    ordered: type !== "json",
    nullable: true,
    label: pathName(column.name, path)
  }
}

/** Returns the name of the values at a path in a header: the path's last key, as in PostgREST. */
const pathName = (column: string, path: Path): string => {
  const key = path.findLast((step) => typeof step.key === "string")?.key
  return typeof key === "string" ? key : column
}
