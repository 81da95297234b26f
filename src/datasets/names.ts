import { show, type Order } from "./conditions.ts"
import type { Column } from "./dataset.ts"

const QUOTED = '"(?:[^"]|"")*"'
const ITEM = new RegExp(`(-?)(${QUOTED}|[^,:"][^,:]*|)(?::(${QUOTED}|[^,]*))?(,|$)`, "suy")

const unquote = (text: string) => (text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text)
const quote = (text: string) => `"${text.replaceAll('"', '""')}"`

interface Item {
  /** A minus before it. */
  readonly minus: boolean
  readonly name: string
  /** What follows it after a colon. */
  readonly label: string | undefined
}

/** Reads `id,-email:E-mail,"a,b":"c, ""d"""`: what holds a comma or a colon stands in double quotes, as in SQL. */
const parseItems = (text: string): ReadonlyArray<Item> | undefined => {
  const items: Array<Item> = []
  ITEM.lastIndex = 0
  for (;;) {
    const [, minus, name, label, end] = ITEM.exec(text) ?? []
    if (name === undefined) return undefined
    items.push({ minus: minus === "-", name: unquote(name), label: label === undefined ? undefined : unquote(label) })
    if (end === "") return items
  }
}

/** An item of such a list. */
export const writeName = (name: string, label?: string): string =>
  label === undefined ? quote(name) : `${quote(name)}:${quote(label)}`

/** The first of `columns` are named, so that an error about a table of 1,600 can be read. */
const known = (columns: ReadonlyArray<Column>) => `known are ${someOf(columns.map(({ name }) => name))}`

const MOST_NAMED = 50
export const someOf = (names: ReadonlyArray<string>, most = MOST_NAMED): string =>
  names.length > most ? `${names.slice(0, most).join(", ")} and ${names.length - most} more` : names.join(", ")

const NO_LIST = 'must be a list such as id,email or "a,b", with what holds a comma, a colon or a quote in double quotes'

const check = (names: ReadonlyArray<string>, columns: ReadonlyArray<Column>): string | undefined => {
  const unknown = names.find((name) => columns.every((column) => column.name !== name))
  if (unknown !== undefined) return `has the unknown column ${show(unknown)}; ${known(columns)}`
  const repeated = names.find((name, index) => names.indexOf(name) !== index)
  return repeated === undefined ? undefined : `has the column ${show(repeated)} twice; ${known(columns)}`
}

/** Reads `id,email:E-mail`; a text says what is wrong with it. */
export const parseColumns = (
  text: string,
  columns: ReadonlyArray<Column>
): ReadonlyArray<{ readonly name: string; readonly label: string | undefined }> | string => {
  const items = parseItems(text)?.map(({ minus, name, label }) => ({ name: minus ? `-${name}` : name, label }))
  if (!items) return NO_LIST
  if (items.some(({ label }) => label === "")) return "has an empty label"
  return (
    check(
      items.map(({ name }) => name),
      columns
    ) ?? items
  )
}

/** Reads `-signup_date,id`; a text says what is wrong with it. */
export const parseOrder = (text: string, columns: ReadonlyArray<Column>): ReadonlyArray<Order> | string => {
  const items = parseItems(text)
  if (!items || items.some(({ label }) => label !== undefined)) return NO_LIST
  const wrong = check(
    items.map(({ name }) => name),
    columns
  )
  if (wrong !== undefined) return wrong
  const unordered = columns.find(({ name, ordered }) => !ordered && items.some((item) => item.name === name))
  if (unordered) return `cannot sort by ${show(unordered.name)}: its type ${unordered.type} has no order`
  return items.map(({ minus, name }) => ({ column: name, descending: minus }))
}
