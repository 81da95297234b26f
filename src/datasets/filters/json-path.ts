import { Schema } from "effect"
import type { Scanner } from "../scanner.ts"

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
  const key = scanner.takeQuoted("name") ?? scanner.take(KEY)?.[0].trim()
  return key === undefined || key.includes("\0") || !key.isWellFormed() ? undefined : key
}
