/** A name as SQL writes it. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Text of ours, or checked; values of a request are bound, or quoted by the server. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

export const relationName = ({ schema, table }: { schema: string; table: string }): string =>
  `${identifier(schema)}.${identifier(table)}`
