/**
 * How a CSV file is written: PostgreSQL's COPY options of the same names, with ESCAPE equal to QUOTE.
 * Both are single ASCII characters.
 * @see https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
 */
export interface Dialect {
  readonly delimiter: string
  readonly quote: string
}

export const defaultDialect: Dialect = { delimiter: ",", quote: '"' }

/** One ASCII character that COPY takes as DELIMITER or QUOTE. */
export const isDialectCharacter = (value: string): boolean =>
  value.length === 1 && value > "\0" && value < "\x80" && value !== "\r" && value !== "\n"

/** Why two allowed characters do not go together, if they do not. */
export const dialectConflict = ({ delimiter, quote }: Dialect): { field: keyof Dialect; detail: string } | undefined => {
  if (delimiter === '"') return { field: "delimiter", detail: "must not be the quote '\"'" }
  if (delimiter === quote) return { field: "quote", detail: `must differ from the delimiter ${JSON.stringify(delimiter)}` }
  return undefined
}
