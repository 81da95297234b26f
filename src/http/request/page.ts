import { ParseResult, Schema } from "effect"
import { show } from "../../datasets/filters/conditions.ts"
import { limits } from "../../limits.ts"

const Limit = Schema.String.pipe(
  Schema.filter(
    (value) =>
      (/^[1-9]\d{0,3}$/.test(value) && Number(value) <= limits.pageMax) ||
      `must be a whole number from 1 to ${limits.pageMax}, not ${show(value)}`
  ),
  (text) => Schema.compose(text, Schema.NumberFromString)
).annotations({
  description: "At most this many exports.",
  jsonSchema: { type: "integer", minimum: 1, maximum: limits.pageMax, default: limits.pageDefault }
})

const sequenceOf = (cursor: string): number | undefined => {
  const [, digits] = /^s(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString("latin1")) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/** Opaque to clients: the sequence of the last export that they have seen. */
export const Cursor = Schema.transformOrFail(Schema.String, Schema.Number, {
  strict: true,
  encode: (sequence) => ParseResult.succeed(Buffer.from(`s${sequence}`).toString("base64url")),
  decode: (cursor, _, ast) => {
    const sequence = sequenceOf(cursor)
    return sequence === undefined
      ? ParseResult.fail(new ParseResult.Type(ast, cursor, `must be a cursor of this list, not ${show(cursor)}`))
      : ParseResult.succeed(sequence)
  }
}).annotations({ description: "The `nextCursor` of the page before.", jsonSchema: { type: "string" } })

/** A page of a list. */
export const Page = Schema.Struct({
  limit: Schema.optionalWith(Limit, { exact: true }),
  cursor: Schema.optionalWith(Cursor, { exact: true })
})
