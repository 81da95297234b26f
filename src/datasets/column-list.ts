import type { Column, Columns } from "./column.ts"
import { show, someOf, type Order } from "./filters/conditions.ts"
import { findColumn, type FieldName } from "./filters/field-name.ts"
import { takePath } from "./filters/json-path.ts"
import { Scanner } from "./scanner.ts"

/** A list of columns as a request has it: a text such as `id,email:E-mail`, or the items of a list in JSON. */
export type WrittenColumns = string | ReadonlyArray<WrittenColumn>
type WrittenColumn = string | { readonly name: string; readonly label?: string }

interface Item extends FieldName {
  /** Whether a minus stands before it. */
  readonly minus: boolean
  /** What follows it after a colon. */
  readonly label: string | undefined
  /** The direction that follows it after a dot, in PostgREST's spelling. */
  readonly direction: string | undefined
  readonly nulls: string | undefined
}

const MINUS = /-(?!>)/y
const NAME = /(?!")(?:(?!->)[^,:])*/suy
const BARE = /(?!")[^,:]*/suy
const SUFFIX = /(?:\.(asc|desc))?(?:\.nulls(first|last))?/y
/** Splits such a suffix off the end of a name. */
const SUFFIXED = /^(.*?)(?:\.(asc|desc))?(?:\.nulls(first|last))?$/s
const END = /,|$/y

/**
 * Reads `id,-email:E-mail,"a,b":"c, ""d""",doc->>key`: a name or label with a comma or a colon is written in double
 * quotes, as in SQL. A name without quotes is first read as PostgREST does, and taken whole if there is no such column.
 */
const parseItems = (text: string): ReadonlyArray<Item> | undefined => {
  const scanner = new Scanner(text)
  return scanner.takeList(() => {
    const minus = scanner.take(MINUS) !== undefined
    const item = takeItem(scanner)
    const hasLabel = item !== undefined && scanner.take(/:/y) !== undefined
    const label = hasLabel ? (scanner.takeQuoted("sql") ?? scanner.take(/[^,:]*/suy)![0]) : undefined
    return item && { ...item, minus, label }
  }, END)
}

const takeItem = (scanner: Scanner): Omit<Item, "minus" | "label"> | undefined => {
  const start = scanner.at
  const quoted = scanner.takeQuoted("sql")
  const name = quoted ?? scanner.take(NAME)?.[0]
  const path = takePath(scanner)
  if (name === undefined) return undefined
  if (quoted !== undefined || path) {
    const written = path ? scanner.text.slice(start, scanner.at) : name
    const [, direction, nulls] = scanner.take(SUFFIX) ?? []
    if (scanner.isAtEnd || scanner.isBefore(/[,:]/)) return { name, path, written, direction, nulls }
    if (quoted !== undefined) return undefined
  }
  scanner.at = start
  const written = scanner.take(BARE)![0]
  const [, plain = written, direction, nulls] = SUFFIXED.exec(written) ?? []
  return { name: plain, path: undefined, written, direction, nulls }
}

/** Reads an item of a list in JSON. A comma in a text without quotes is part of a name. */
const parseItem = (item: WrittenColumn): ReadonlyArray<Item> | undefined => {
  if (typeof item !== "string") return [namedItem(item.name, item.label)]
  if (!item.includes(",") || /^-?"/.test(item)) return parseItems(item)
  return [item.startsWith("-") ? { ...namedItem(item.slice(1)), minus: true } : namedItem(item)]
}

/** Makes an item of a name that is written without quotes, whatever is in it. It may have a path. */
const namedItem = (name: string, label?: string): Item => {
  const [item, ...more] = name.includes("->") ? (parseItems(name) ?? []) : []
  if (item?.path && more.length === 0 && item.label === undefined) return { ...item, label }
  return { name, path: undefined, written: name, minus: false, label, direction: undefined, nulls: undefined }
}

const itemsOf = (columns: WrittenColumns): ReadonlyArray<Item> | undefined => {
  if (typeof columns === "string") return parseItems(columns)
  const items = columns.map(parseItem)
  return items.every((item) => item !== undefined) ? items.flat() : undefined
}

/** Lists the first columns for an error, which can then be read even if the table has 1,600. */
const known = (columns: Columns) => `known are ${someOf([...columns.keys()])}`

const NO_LIST = 'must be a list such as id,email or "a,b"; a name with a comma, a colon or a quote stands in double quotes'

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
export const parseColumns = (written: WrittenColumns, columns: Columns): ReadonlyArray<ColumnItem> | string => {
  const items = itemsOf(written)?.map(asColumn)
  if (!items) return NO_LIST
  const sorted = items.find(({ direction, nulls }) => direction !== undefined || nulls !== undefined)
  if (sorted) return `says how to sort by ${show(sorted.written)}, which order_by does`
  if (items.some(({ label }) => label === "")) return "has an empty label"
  const found = findAll(items, columns)
  if (typeof found === "string") return found
  const titles = Map.groupBy(found, ({ item, column }) => item.label ?? (column.path ? column.label : column.name))
  for (const [title, titled] of titles)
    if (titled.length > 1 && titled.some(({ column }) => column.path))
      return `has two columns with the title ${show(title)}; give one of them a label, as in a->b:label`
  return found.map(({ item, column }) => ({ column, label: item.label }))
}

/** Reads `-signup_date,id` and `signup_date.desc.nullslast,id.asc`. A string says what is wrong. */
export const parseOrder = (written: WrittenColumns, columns: Columns): ReadonlyArray<Order> | string => {
  const items = itemsOf(written)
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
