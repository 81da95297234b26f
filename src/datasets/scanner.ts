/**
 * How a double quote, and anything else that needs it, is written between double quotes: `sql` doubles the quote,
 * `value` puts a backslash before any character, as PostgREST does in values, and `name` knows both.
 */
const QUOTED = {
  sql: /"((?:[^"]|"")*)"/suy,
  value: /"((?:[^"\\]|\\.)*)"/suy,
  name: /"((?:[^"\\]|\\.|"")*)"/suy
}
const ESCAPED = { sql: /"(")/g, value: /\\(.)/gsu, name: /["\\](.)/gsu }

/** Reads a text from its beginning with sticky patterns. */
export class Scanner {
  at = 0

  constructor(readonly text: string) {}

  /** Takes what the pattern matches at this position. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (!found) return undefined
    this.at = pattern.lastIndex
    return found
  }

  /** Takes a text in double quotes, and returns what it stands for. */
  takeQuoted(quoting: keyof typeof QUOTED): string | undefined {
    return this.take(QUOTED[quoting])?.[1]!.replaceAll(ESCAPED[quoting], "$1")
  }

  /**
   * Takes a list of items. `end` matches what may follow an item: a comma, after which there is another one, or the end of
   * the list. Returns undefined when an item or its end is missing.
   */
  takeList<A>(takeItem: () => A | undefined, end: RegExp): ReadonlyArray<A> | undefined {
    const items: Array<A> = []
    for (;;) {
      const item = takeItem()
      if (item === undefined) return undefined
      items.push(item)
      const ended = this.take(end)
      if (!ended) return undefined
      if (!ended[0].includes(",")) return items
    }
  }

  /** Says whether `characters` matches the next character, without taking it. */
  isBefore(characters: RegExp): boolean {
    return characters.test(this.text[this.at] ?? "")
  }

  get isAtEnd(): boolean {
    return this.at === this.text.length
  }

  /** The text that follows, for an error message. */
  get rest(): string {
    return this.text.slice(this.at)
  }
}
