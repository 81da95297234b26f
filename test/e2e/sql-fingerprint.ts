/** Fingerprints of the statements that a server ran: without values, they are the same for all harmless requests. */
import type postgres from "postgres"
import { serverLog } from "../support/shared-service.ts"

/** Makes the server log each statement of new sessions of this database, without bound values. */
export const logStatements = async (sql: postgres.Sql): Promise<void> => {
  const [row] = await sql<[{ name: string }]>`select format('%I', current_database()) as name`
  await sql.unsafe(`alter database ${row.name} set log_statement = 'all'`)
  await sql.unsafe(`alter database ${row.name} set log_parameter_max_length = 0`)
}

/** Returns all logged statements in their order. All lines of a statement but the first begin with a tab. */
export const loggedStatements = async (): Promise<ReadonlyArray<string>> => {
  const log = await serverLog()
  return log
    .split(/\n(?!\t)/)
    .map((entry) => /^[-\d]+ [\d:.]+ \w+ \[\d+\] LOG: {2}(?:statement|execute [^:]+): (.*)$/s.exec(entry)?.[1])
    .filter((statement) => statement !== undefined)
}

const TOKENS = /[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\d+|\d+(?:\.\d+)?|[a-zA-Z_]\w*|::|<>|<=|>=|\S/gs

const shapeOfToken = (token: string): string =>
  /^[eE]?'/.test(token) ? "'…'" : token.startsWith('"') ? '"…"' : /^\$?\d/.test(token) ? "n" : token

/** Splits tokens at a separator outside parentheses. */
const splitAt = (tokens: ReadonlyArray<string>, separator: string): ReadonlyArray<ReadonlyArray<string>> => {
  const parts: Array<Array<string>> = [[]]
  let depth = 0
  for (const token of tokens) {
    if (token === "(") depth++
    if (token === ")") depth--
    if (depth === 0 && token === separator) parts.push([])
    else parts.at(-1)!.push(token)
  }
  return parts
}

/** Matches the steps into a JSON value, by keys and by positions. */
const STEPS = /(?: - >(?: >)? (?:'…'|n) :: text(?: :: int)?)+/g

/** Returns the conditions in groups, without what joins and negates them. */
const conditionsOf = (tokens: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const parts = splitAt(tokens, "and").flatMap((part) => splitAt(part, "or"))
  if (parts.length > 1) return parts.flatMap(conditionsOf)
  if (tokens[0] === "not") return conditionsOf(tokens.slice(1))
  let depth = 0
  const end = tokens.findIndex((token) => (depth += token === "(" ? 1 : token === ")" ? -1 : 0) === 0)
  return tokens[0] === "(" && end === tokens.length - 1 ? conditionsOf(tokens.slice(1, -1)) : [tokens]
}

/** Replaces a list of equal items by one of them. */
const written = (tokens: ReadonlyArray<string>) =>
  tokens
    .join(" ")
    .replaceAll(STEPS, " step")
    .replaceAll(/(\S[^,]*?)(?: , \1)+(?= [,)\]])/g, "$1")

const QUERY =
  /^(?<before>.*?select) (?<items>.*?) (?<from>from (?:only )?"…" \. "…"(?: as "…")?)(?: where (?<conditions>.*?))?(?: order by (?<order>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?))?(?: limit (?<limit>\S+(?: :: \w+)*))?(?<after> \) to stdout .*)?$/s

/** Splits a statement: for an export, each item, condition and order is apart, since their numbers differ. */
export const shapesOf = (statement: string): ReadonlyArray<string> => {
  const tokens = (statement.match(TOKENS) ?? []).map(shapeOfToken)
  const text = tokens.join(" ").replaceAll(STEPS, " step")
  const { before, items, from, conditions, order, limit, after = "" } = QUERY.exec(text)?.groups ?? {}
  const list = (kind: string, part: string | undefined, separator: string) =>
    part === undefined ? [] : splitAt(part.split(" "), separator).map((one) => `${kind} ${written(one)}`)
  // This statement asks about each of several values.
  if (before === undefined && text.startsWith("select ( select ")) return list("question", text.slice("select ".length), ",")
  if (before === undefined) return [written(tokens)]
  return [
    `${before} … ${from} …${after}`,
    ...list("item", items, ","),
    ...(conditions === undefined ? [] : conditionsOf(conditions.split(" ")).map((one) => `where ${written(one)}`)),
    ...list("order by", order, ","),
    ...(limit === undefined ? [] : [`limit ${limit}`])
  ]
}

/** Returns the quoted identifiers of a statement. */
export const identifiersOf = (statement: string): ReadonlyArray<string> =>
  (statement.match(TOKENS) ?? []).filter((token) => token.startsWith('"'))
