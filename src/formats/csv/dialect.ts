/**
 * How the lines of a CSV file are written. But for `newline` these are PostgreSQL's COPY options DELIMITER, QUOTE (and
 * ESCAPE, which is equal to it), NULL and FORCE_QUOTE.
 * @see https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export interface Dialect {
  /** A single ASCII character, as `quote` is. */
  readonly delimiter: string
  readonly quote: string
  /** Which values stand in quotes: those that need them, all, or those of columns that are text, too. NULL never does. */
  readonly quoting: "minimal" | "all" | "text"
  /** What stands for NULL. A value that is equal to it stands in quotes. */
  readonly null: string
  readonly newline: "lf" | "crlf"
}

export const defaultDialect: Dialect = { delimiter: ",", quote: '"', quoting: "minimal", null: "", newline: "lf" }

/** Says whether the value is one ASCII character that COPY takes as DELIMITER or QUOTE. */
export const isDialectCharacter = (value: string): boolean =>
  value.length === 1 && value > "\0" && value < "\x80" && value !== "\r" && value !== "\n"

/** Returns why allowed values do not go together, if they do not. */
export const dialectConflict = (dialect: Dialect): { field: keyof Dialect; detail: string } | undefined => {
  const { delimiter, quote } = dialect
  if (delimiter === '"') return { field: "delimiter", detail: "must not be the quote '\"'" }
  if (delimiter === quote) return { field: "quote", detail: `must differ from the delimiter ${JSON.stringify(delimiter)}` }
  const taken = [delimiter, quote, "\r", "\n"].find((character) => dialect.null.includes(character))
  if (taken !== undefined) return { field: "null", detail: `must not hold ${JSON.stringify(taken)}, which has another meaning` }
  return undefined
}
