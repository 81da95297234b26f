import { Scanner } from "./scanner.ts"

/** A relation that may be exported, or all of a schema. */
export interface AllowedRelation {
  readonly schema: string
  /** Undefined for all relations of the schema. */
  readonly table: string | undefined
}

const NAME = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/uy
const END = /\s*(?:,|$)/y

/** Takes a name as PostgreSQL reads it: folded to lower case, or as it is between double quotes. */
const takeName = (scanner: Scanner): string | undefined => {
  const quoted = scanner.takeQuoted("sql")
  if (quoted === undefined) return scanner.take(NAME)?.[0].toLowerCase()
  return quoted === "" || quoted.includes("\0") ? undefined : quoted
}

/** Reads a list such as `public.orders,reporting.*,"Odd Schema"."a ""name"""`; returns undefined if the text is none. */
export const parseAllowList = (text: string): ReadonlyArray<AllowedRelation> | undefined => {
  if (text === "") return []
  const scanner = new Scanner(text)
  return scanner.takeList((): AllowedRelation | undefined => {
    scanner.take(/\s*/y)
    const schema = takeName(scanner)
    if (schema === undefined || !scanner.take(/\./y)) return undefined
    if (scanner.take(/\*/y)) return { schema, table: undefined }
    const table = takeName(scanner)
    return table === undefined ? undefined : { schema, table }
  }, END)
}
