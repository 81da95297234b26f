/** Statements that a server was sent, without their values: what is left is the same for every harmless request. */
import type postgres from "postgres"
import { serverLog } from "../support/shared-service.ts"

/** Has the server log each statement of the sessions that this database gets from now on, without bound values. */
export const logStatements = async (sql: postgres.Sql): Promise<void> => {
  const [row] = await sql<[{ name: string }]>`select format('%I', current_database()) as name`
  await sql.unsafe(`alter database ${row.name} set log_statement = 'all'`)
  await sql.unsafe(`alter database ${row.name} set log_parameter_max_length = 0`)
}

/** All statements that were logged so far, in their order. Lines of one statement but its first begin with a tab. */
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

/** Splits tokens at a separator that stands in no parentheses. */
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

/** Steps into a JSON value, by keys and by positions. */
const STEPS = /(?: - >(?: >)? (?:'…'|n) :: text(?: :: int)?)+/g

/** The conditions that groups of them hold, without what joins and negates them. */
const conditionsOf = (tokens: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const parts = splitAt(tokens, "and").flatMap((part) => splitAt(part, "or"))
  if (parts.length > 1) return parts.flatMap(conditionsOf)
  if (tokens[0] === "not") return conditionsOf(tokens.slice(1))
  let depth = 0
  const end = tokens.findIndex((token) => (depth += token === "(" ? 1 : token === ")" ? -1 : 0) === 0)
  return tokens[0] === "(" && end === tokens.length - 1 ? conditionsOf(tokens.slice(1, -1)) : [tokens]
}

/** A list of equal items is as good as one of them. */
const written = (tokens: ReadonlyArray<string>) =>
  tokens
    .join(" ")
    .replaceAll(STEPS, " step")
    .replaceAll(/(\S[^,]*?)(?: , \1)+(?= [,)\]])/g, "$1")

const QUERY =
  /^(?<before>.*?select) (?<items>.*?) (?<from>from (?:only )?"…" \. "…"(?: as "…")?)(?: where (?<conditions>.*?))?(?: order by (?<order>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?))?(?: limit (?<limit>\S+(?: :: \w+)*))?(?<after> \) to stdout .*)?$/s

/** The parts of a statement: of an export each item, condition and order by itself, since their number differs. */
export const shapesOf = (statement: string): ReadonlyArray<string> => {
  const tokens = (statement.match(TOKENS) ?? []).map(shapeOfToken)
  const text = tokens.join(" ").replaceAll(STEPS, " step")
  const { before, items, from, conditions, order, limit, after = "" } = QUERY.exec(text)?.groups ?? {}
  const list = (kind: string, part: string | undefined, separator: string) =>
    part === undefined ? [] : splitAt(part.split(" "), separator).map((one) => `${kind} ${written(one)}`)
  // A question about each of several values.
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

/** The identifiers of a statement that stand in double quotes. */
export const identifiersOf = (statement: string): ReadonlyArray<string> =>
  (statement.match(TOKENS) ?? []).filter((token) => token.startsWith('"'))
