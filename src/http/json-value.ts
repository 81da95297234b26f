/** A number of a JSON text, with its digits as they were written: 0.1 never passes through a float. */
class WrittenNumber {
  constructor(readonly text: string) {}
}

const numberAsText = (_key: string, value: unknown, context: { source: string }) =>
  typeof value === "number" ? new WrittenNumber(context.source) : value

/** Parses JSON; throws when it is none. */
export const parseJson = (text: string): unknown => JSON.parse(text, numberAsText as (key: string, value: unknown) => unknown)

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof WrittenNumber)

/** The text of a value that is one; undefined for lists, objects and null. */
export const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (typeof value === "boolean") return String(value)
  return value instanceof WrittenNumber ? value.text : undefined
}
