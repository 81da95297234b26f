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

  get isAtEnd(): boolean {
    return this.at === this.text.length
  }

  /** The text that follows, for an error message. */
  get rest(): string {
    return this.text.slice(this.at)
  }
}

/** Matches a value in double quotes in PostgREST's grammar, where a backslash escapes the next character. */
export const QUOTED_VALUE = /"((?:[^"\\]|\\.)*)"/sy
/** Matches a name in double quotes, in which a doubled quote stands for one, too, as in SQL. */
export const QUOTED_NAME = /"((?:[^"\\]|\\.|"")*)"/sy

export const unescape = (quoted: string): string => quoted.replaceAll(/\\(.)|""/gsu, (_, one: string | undefined) => one ?? '"')
