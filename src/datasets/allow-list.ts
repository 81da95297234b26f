/** Relations that may be exported: one, or all of a schema. */
export interface AllowedRelation {
  readonly schema: string
  /** Undefined: every one in the schema. */
  readonly table: string | undefined
}

/** As PostgreSQL reads it: folded to lower case, or as it stands between double quotes, where "" is one of them. */
const IDENTIFIER = String.raw`(?:[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|"(?:[^"\0]|"")+")`
const ENTRY = new RegExp(String.raw`\s*(${IDENTIFIER})\.(\*|${IDENTIFIER})\s*(?:,|$)`, "uy")

const identifierOf = (text: string) => (text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text.toLowerCase())

/** Reads `public.orders,reporting.*,"Odd Schema"."a ""name"""`; undefined when it is not such a list. */
export const parseAllowList = (text: string): ReadonlyArray<AllowedRelation> | undefined => {
  const allowed: Array<AllowedRelation> = []
  ENTRY.lastIndex = 0
  while (ENTRY.lastIndex < text.length) {
    const [entry, schema, table] = ENTRY.exec(text) ?? []
    if (entry === undefined || schema === undefined || table === undefined) return undefined
    allowed.push({ schema: identifierOf(schema), table: table === "*" ? undefined : identifierOf(table) })
  }
  return text.trimEnd().endsWith(",") ? undefined : allowed
}
