/** Reads a text from its beginning, by sticky patterns. */
export class Scanner {
  at = 0

  constructor(readonly text: string) {}

  /** Takes what the pattern finds here. */
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

  /** What follows, to be shown. */
  get rest(): string {
    return this.text.slice(this.at)
  }
}

/** A value in double quotes as PostgREST has it: a backslash takes the next character as it is. */
export const QUOTED_VALUE = /"((?:[^"\\]|\\.)*)"/sy
/** A name likewise, in which two double quotes are one, too, as in SQL. */
export const QUOTED_NAME = /"((?:[^"\\]|\\.|"")*)"/sy

export const unescape = (quoted: string): string => quoted.replaceAll(/\\(.)|""/gsu, (_, one: string | undefined) => one ?? '"')
