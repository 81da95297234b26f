import type { Column, Columns } from "./column.ts"
import { show, type Order } from "./filters/conditions.ts"
import { findColumn, type FieldName } from "./filters/field-name.ts"
import { takePath } from "./filters/json-path.ts"
import { Scanner } from "./filters/scanner.ts"

const QUOTED = /"((?:[^"]|"")*)"/suy
const BARE = /(?!")[^,:]*/suy
const LABEL = /:(?:"((?:[^"]|"")*)"|([^,:]*))/suy
const SUFFIX = /(?:\.(asc|desc))?(?:\.nulls(first|last))?/y
/** Splits such a suffix off the end of a name. */
const SUFFIXED = /^(.*?)(?:\.(asc|desc))?(?:\.nulls(first|last))?$/s

const unquote = (text: string) => text.replaceAll('""', '"')
const quote = (text: string) => `"${text.replaceAll('"', '""')}"`

interface Item extends FieldName {
  /** A minus before it. */
  readonly minus: boolean
  /** What follows it after a colon. */
  readonly label: string | undefined
  /** The direction that follows it after a dot, in PostgREST's spelling. */
  readonly direction: string | undefined
  readonly nulls: string | undefined
}

/**
 * Reads `id,-email:E-mail,"a,b":"c, ""d""",doc->>key`: a name or label with a comma or a colon is written in double
 * quotes, as in SQL. A name without quotes is first read as PostgREST does, and taken whole if there is no such column.
 */
const parseItems = (text: string): ReadonlyArray<Item> | undefined => {
  const scanner = new Scanner(text)
  const items: Array<Item> = []
  for (;;) {
    const minus = scanner.take(/-(?!>)/y) !== undefined
    const item = takeItem(scanner)
    const [, quoted, bare] = scanner.take(LABEL) ?? []
    if (!item) return undefined
    items.push({ ...item, minus, label: quoted === undefined ? bare : unquote(quoted) })
    if (scanner.isAtEnd) return items
    if (!scanner.take(/,/y)) return undefined
  }
}

const takeItem = (scanner: Scanner): Omit<Item, "minus" | "label"> | undefined => {
  const start = scanner.at
  const quoted = scanner.take(QUOTED)?.[1]
  const name = quoted === undefined ? scanner.take(/(?!")(?:(?!->)[^,:])*/suy)?.[0] : unquote(quoted)
  const path = takePath(scanner)
  if (name === undefined) return undefined
  if (quoted !== undefined || path) {
    const written = path ? scanner.text.slice(start, scanner.at) : name
    const [, direction, nulls] = scanner.take(SUFFIX) ?? []
    const isEnded = scanner.isAtEnd || /[,:]/.test(scanner.text[scanner.at]!)
    if (isEnded) return { name, path, written, direction, nulls }
    if (quoted !== undefined) return undefined
  }
  scanner.at = start
  const written = scanner.take(BARE)![0]
  const [, plain = written, direction, nulls] = SUFFIXED.exec(written) ?? []
  return { name: plain, path: undefined, written, direction, nulls }
}

/** Writes an item of such a list. A name that contains a path stays as it is. */
export const writeName = (name: string, label?: string): string => {
  const [item, ...more] = name.includes("->") ? (parseItems(name) ?? []) : []
  const written = item?.path && more.length === 0 && item.label === undefined ? name : quote(name)
  return label === undefined ? written : `${written}:${quote(label)}`
}

/** The first of `columns` are named, so that an error about a table of 1,600 can be read. */
const known = (columns: Columns) => `known are ${someOf([...columns.keys()])}`

const MOST_NAMED = 50
export const someOf = (names: ReadonlyArray<string>, most = MOST_NAMED): string =>
  names.length > most ? `${names.slice(0, most).join(", ")} and ${names.length - most} more` : names.join(", ")

const NO_LIST = 'must be a list such as id,email or "a,b", with what holds a comma, a colon or a quote in double quotes'

interface Found {
  readonly item: Item
  readonly column: Column
}

/** Finds the columns of a list, each of which may occur once. A string says what is wrong. */
const findAll = (items: ReadonlyArray<Item>, columns: Columns): ReadonlyArray<Found> | string => {
  const found: Array<Found> = []
  const fields = new Set<string>()
  for (const item of items) {
    const column = findColumn(item, columns)
    if (typeof column === "string") return `cannot have ${show(item.written)}: ${column}`
    if (!column) return `has the unknown column ${show(item.written)}; ${known(columns)}`
    const field = JSON.stringify([column.name, column.path])
    if (fields.has(field)) return `has the column ${show(item.written)} twice; ${known(columns)}`
    fields.add(field)
    found.push({ item, column })
  }
  return found
}

/** A column that is exported, or the value at a path in it, with the label that the request gives it. */
export interface ColumnItem {
  readonly column: Column
  readonly label: string | undefined
}

/** Undoes the reading of a minus or a direction: in `columns` they belong to the name. */
const asColumn = (item: Item): Item => {
  const isPlain = !item.path && item.name !== item.written
  const written = item.minus ? `-${item.written}` : item.written
  if (!isPlain && !item.minus) return item
  return { ...item, name: written, written, path: undefined, ...(isPlain && { direction: undefined, nulls: undefined }) }
}

/** Reads `id,email:E-mail,doc->>key`. A string says what is wrong. */
export const parseColumns = (text: string, columns: Columns): ReadonlyArray<ColumnItem> | string => {
  const items = parseItems(text)?.map(asColumn)
  if (!items) return NO_LIST
  const sorted = items.find(({ direction, nulls }) => direction !== undefined || nulls !== undefined)
  if (sorted) return `says how to sort by ${show(sorted.written)}, which order_by does`
  if (items.some(({ label }) => label === "")) return "has an empty label"
  const found = findAll(items, columns)
  if (typeof found === "string") return found
  const titles = Map.groupBy(found, ({ item, column }) => item.label ?? (column.path ? column.label : column.name))
  for (const [title, own] of titles)
    if (own.length > 1 && own.some(({ column }) => column.path))
      return `has two columns that are called ${show(title)}; give one of them a label, as in a->b:label`
  return found.map(({ item, column }) => ({ column, label: item.label }))
}

/** Reads `-signup_date,id` and `signup_date.desc.nullslast,id.asc`. A string says what is wrong. */
export const parseOrder = (text: string, columns: Columns): ReadonlyArray<Order> | string => {
  const items = parseItems(text)
  if (!items || items.some(({ label }) => label !== undefined)) return NO_LIST
  const found = findAll(items, columns)
  if (typeof found === "string") return found
  const orders: Array<Order> = []
  for (const { item, column } of found) {
    // Otherwise the name with its suffix is that of a column.
    const isSuffixed = item.path !== undefined || column.name === item.name
    const direction = isSuffixed ? item.direction : undefined
    const nulls = isSuffixed ? item.nulls : undefined
    if (!column.ordered) return `cannot sort by ${show(item.written)}: its type ${column.type} has no order`
    if (item.minus && direction !== undefined) return `gives two directions for ${show(item.written)}: a minus and ${direction}`
    const descending = item.minus || direction === "desc"
    orders.push({
      column: column.name,
      ...(column.path && { path: column.path }),
      descending,
      ...((nulls === "first" || nulls === "last") && nulls !== (descending ? "first" : "last") && { nulls })
    })
  }
  return orders
}
