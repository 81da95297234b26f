/** A number of a JSON text with the digits as written, so that 0.1 never passes through a float. */
class WrittenNumber {
  constructor(readonly text: string) {}

  toJSON() {
    return this.text
  }
}

const numberAsText = (_key: string, value: unknown, context: { source: string }) =>
  typeof value === "number" ? new WrittenNumber(context.source) : value

/**
 * Parses JSON. Throws if the text is not JSON. The parser is the runtime's, since that of lossless-json accepts a member
 * that repeats an equal value, overflows the stack in deep lists, and takes 2 MB of memory for a text of 64 KB.
 */
export const parseJson = (text: string): unknown => JSON.parse(text, numberAsText as (key: string, value: unknown) => unknown)

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof WrittenNumber)

/** Returns the text of a single value; undefined for lists, objects and null. */
export const textOf = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (typeof value === "boolean") return String(value)
  return value instanceof WrittenNumber ? value.text : undefined
}

/** Lists the names that an object of a JSON text has twice, which JSON.parse would hide. */
export const repeatedMembers = (json: string): ReadonlyArray<string> => {
  const repeated = new Set<string>()
  const objects: Array<Set<string>> = []
  for (const [token, key] of json.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (key !== undefined) {
      const name = JSON.parse(key) as string
      if (objects.at(-1)?.has(name)) repeated.add(name)
      objects.at(-1)?.add(name)
    } else if (token === "{") objects.push(new Set())
    else if (token === "}") objects.pop()
  }
  return [...repeated]
}
