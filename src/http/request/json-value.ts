/** A number of a JSON text with the digits as written, so that 0.1 never passes through a float. */
class WrittenNumber {
  constructor(readonly text: string) {}
}

const numberAsText = (_key: string, value: unknown, context: { source: string }) =>
  typeof value === "number" ? new WrittenNumber(context.source) : value

/** Parses JSON. Throws if the text is not JSON. */
export const parseJson = (text: string): unknown => JSON.parse(text, numberAsText as (key: string, value: unknown) => unknown)

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof WrittenNumber)

/** Returns the text of a single value; undefined for lists, objects and null. */
export const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (typeof value === "boolean") return String(value)
  return value instanceof WrittenNumber ? value.text : undefined
}
