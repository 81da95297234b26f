/** PostgREST's requests as Sluice takes them: names of parameters differ, filters are the same. */
import { quoted } from "../e2e/filters.fixture.ts"

/** A request of PostgREST's tests, and what its answer there is. */
export interface SpecRequest {
  /** The test file and its line. */
  readonly at: string
  /** GET where it is absent. */
  readonly method?: string
  readonly url: string
  /** A header that the request sends. */
  readonly header?: string
  /** 200 where it is absent; 0: the test does not name it. */
  readonly status?: number
  /** The rows, where the test has them as a literal. */
  readonly rows?: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** Columns and their types, by the name of the table. */
export type Catalog = ReadonlyMap<string, ReadonlyMap<string, string>>

interface Selected {
  readonly label: string
  /** As the request names it: a column, and a JSON path after it. */
  readonly field: string
  readonly column: string
  /** What a path ends in; undefined: it has none. */
  readonly at: "json" | "text" | undefined
}

export interface Translation {
  readonly table: string
  readonly query: string
  readonly selected: ReadonlyArray<Selected>
  readonly ordered: boolean
}

/** Why a request has no counterpart. */
export class NotApplicable {
  constructor(readonly reason: string) {}
}

const decode = (text: string): string => {
  const spaced = text.replaceAll("+", " ")
  try {
    return decodeURIComponent(spaced)
  } catch {
    // A percent sign that begins no escape stays, as PostgREST has it.
    return spaced.replaceAll(/((?:%[\da-fA-F]{2})+)/g, (escapes) => decodeURIComponent(escapes))
  }
}
const pairsOf = (url: string): ReadonlyArray<readonly [name: string, value: string]> => {
  const query = url.includes("?") ? url.slice(url.indexOf("?") + 1) : ""
  return query
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => [decode(pair.split("=")[0]!), decode(pair.split("=").slice(1).join("="))])
}
export const write = (pairs: ReadonlyArray<readonly [string, string]>) =>
  pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&")

/** Splits at commas that stand in no quotes. */
const items = (text: string) => text.match(/(?:"(?:[^"\\]|\\.)*"|[^,"]|"(?=[^"]*$))+/g)?.map((item) => item.trim()) ?? []
const unquote = (name: string) => (/^".*"$/s.test(name) ? name.slice(1, -1).replaceAll(/\\(.)/gs, "$1") : name)
/** The column of `data->a->>b`, and the key that its value has in PostgREST's answer. */
const parts = (field: string): { readonly column: string; readonly path: string; readonly key: string } => {
  const [, name = "", path = ""] = /^("(?:[^"\\]|\\.)*"|[^>]*?)(->.*)?$/s.exec(field) ?? []
  const column = unquote(name)
  // An index of an array has no name of its own: the key before it is taken.
  const key = [...path.matchAll(/->>?("[^"]*"|[^->]+)/g)].map(([, one]) => one!).findLast((one) => !/^-?\d+$/.test(one))
  return { column, path, key: key === undefined ? column : unquote(key) }
}

const reserved = new Set(["select", "order", "limit", "offset", "columns", "on_conflict"])
/** Functions of the fixtures that PostgREST takes for columns. */
const COMPUTED = new Set(["always_true", "anti_id", "computed_overload", "text_search_vector", "count"])
/** Whether a name has an embedded relation before it: `clients.id`, `clients.or`. */
const isEmbedded = (name: string) => !isGroup(name) && /^[^"]*\./.test(name.replace(/->.*/s, "")) && !name.startsWith('"')

const withoutCounterpart = (request: SpecRequest, pairs: ReturnType<typeof pairsOf>): string | undefined => {
  const { method = "GET", url, header, at } = request
  const path = url.split("?")[0]!.replace(/^\//, "")
  const values = (wanted: string) => pairs.filter(([name]) => name === wanted).map(([, value]) => value)
  const select = values("select")
    .join(",")
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
  if (path.startsWith("rpc/")) return "a function is called"
  if (!["GET", "HEAD"].includes(method)) return "rows are written"
  if (path === "") return "the description of the API"
  if (method === "HEAD") return "HEAD: no rows are answered"
  if (header !== undefined && !header.startsWith("Prefer: count=")) return `the header ${header.split(":")[0]!}`
  if (at === "Update:120") return "rows that the test has written before"
  if (/^(QueryLimited|Unicode|MultipleSchema|PostGIS|CustomMedia):/.test(at)) return "a configuration or schema of its own"
  if (path.startsWith("datarep_") || path === "designers")
    return "data representations: casts of the database that PostgREST calls"
  if (/\.\.\./.test(select)) return "spread relations"
  if (/\b(sum|avg|count|max|min)\(\)/.test(select)) return "aggregates"
  if (/\(/.test(select) || pairs.some(([name]) => isEmbedded(name))) return "embedded relations"
  if (values("order").some((order) => /\(/.test(order))) return "embedded relations"
  if (/::/.test(select)) return "casts in select"
  if (values("offset").length > 0) return "offset"
  return undefined
}

/** The filters of a request as it writes them. */
export const filtersOf = ({ url }: SpecRequest): ReadonlyArray<readonly [name: string, text: string]> =>
  pairsOf(url).filter(([name]) => !reserved.has(name))

export const isGroup = (name: string) => /^(not\.)?(and|or)$/.test(name)

export const translate = (request: SpecRequest, catalog: Catalog): Translation | NotApplicable => {
  const pairs = pairsOf(request.url)
  const reason = withoutCounterpart(request, pairs)
  if (reason !== undefined) return new NotApplicable(reason)
  const table = decode(request.url.split("?")[0]!.replace(/^\//, ""))
  const columns = catalog.get(table)
  if (!columns && request.status !== 404) return new NotApplicable("a relation that the fixtures do not have here")
  const all = [...(columns?.keys() ?? [])]
  const given = pairs.filter(([name]) => name === "select").flatMap(([, value]) => items(value))
  const selected = (given.length > 0 ? given : ["*"]).flatMap((item): ReadonlyArray<Selected> => {
    if (item === "*") return all.map((name) => ({ label: name, field: quoted(name), column: name, at: undefined }))
    const [, alias, field = item] = /^("(?:[^"\\]|\\.)*"|[^:"]*):(.*)$/s.exec(item) ?? []
    const { column, path, key } = parts(field)
    return [
      {
        label: alias === undefined ? key : unquote(alias),
        field: (/^[\w$ ]+$/.test(column) ? column : quoted(column)) + path,
        column,
        at: path === "" ? undefined : /->>[^>]*$/.test(path) ? "text" : "json"
      }
    ]
  })
  const filters = filtersOf(request)
  const order = pairs.filter(([name]) => name === "order")
  const named = [
    ...selected.map(({ column }) => column),
    ...order.flatMap(([, value]) => items(value)).map((item) => parts(item.replace(/\.(asc|desc|nulls).*/, "")).column),
    ...filters.map(([name]) => parts(name).column)
  ]
  if (columns && named.some((name) => !columns.has(name) && COMPUTED.has(name)))
    return new NotApplicable("computed columns: functions that PostgREST calls")
  const query = [
    ["dataset", `test.${table}`],
    ...((given.length > 0 && !given.includes("*")) || given.length > 1
      ? [["columns", selected.map(({ label, field }) => `${field}:${quoted(label)}`).join(",")]]
      : []),
    ...order.map(([, value]) => ["order_by", value]),
    ...pairs.filter(([name]) => name === "limit")
  ] as ReadonlyArray<readonly [string, string]>
  return {
    table,
    query: write([...query, ...filters]),
    selected,
    ordered: order.length > 0
  }
}
