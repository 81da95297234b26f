import { isString, type Column } from "../../datasets/column.ts"
import type { Format } from "../../formats/format.ts"
import { markedText, spreadsheetText } from "../../formats/csv/spreadsheet-text.ts"
import { identifier } from "../../source/identifier.ts"

/** More digits than these a spreadsheet rounds. */
const SAFE_DIGITS = 15
const LARGEST_SAFE = "9".repeat(SAFE_DIGITS)

/**
 * Types whose text is never marked: it is no formula, or it is a number or a time and is to stay one. Arrays begin with a
 * brace or a bracket.
 */
const HARMLESS = new Set(
  `smallint,integer,bigint,oid,numeric,real,double precision,money,boolean,date,interval,uuid,bytea,json,jsonb,inet,cidr,macaddr,
   macaddr8,time without time zone,time with time zone,timestamp without time zone,timestamp with time zone,"bit",bit varying`
    .split(",")
    .map((type) => type.trim())
)
const isHarmless = ({ base, category }: Column) => HARMLESS.has(base) || category === "A"

const WORDS = { "yes/no": ["yes", "no"], "1/0": ["1", "0"] } as const

type Marked = NonNullable<ReturnType<typeof markedText>>

/** Writes a test of text in SQL. Regular expressions do not work in every collation, but they do in "C". */
const is = (text: string, test: keyof typeof spreadsheetText): string =>
  `${text} collate "C" ~ '${spreadsheetText[test].replaceAll("'", "''")}'`

const isMarked = (text: string, kind: Marked): string => {
  if (kind === "formulas") return is(text, "formula")
  const changed = is(text, "formulaOrNumber")
  const any = kind === "numbers" ? changed : `(${changed} or ${is(text, "digit")} and ${is(text, "date")})`
  return `${any} and not ${is(text, "whole")}`
}

/**
 * Writes text with an apostrophe before what a spreadsheet would change. The first byte decides for nearly all text, and
 * a cast to "char" gives it at a tenth of the cost: no text that begins with a letter is a formula, and few are numbers.
 */
const marking = (value: string, column: Column, kind: Marked): string => {
  const own = isString(column) && column.base !== '"char"' ? value : `${value}::text`
  // Padding is part of a `bpchar`, and lost where it becomes text.
  const padded = column.base === "bpchar"
  const text = padded ? `concat(${value})` : `${value}::text`
  const marked = padded ? `concat('''', ${value})::bpchar` : `'''' || ${text}`
  const byte = `${own}::"char"`
  const tests = {
    formulas: [],
    numbers: [`(${byte} not in ('T', 't', 'F', 'f') or not ${is(text, "truth")})`],
    dates: [`not ${is(text, "digit")}`, `not ${is(text, "truth")}`]
  }[kind]
  const kept = [`${byte} between 'A' and '~'`, ...tests].join(" and ")
  return `case when ${kept} then ${own} when ${isMarked(text, kind)} then ${marked} else ${own} end`
}

const longNumber = (value: string, { base, type }: Column): string => {
  const text = `${value}::text`
  if (base === "bigint")
    return `case when ${value} between -${LARGEST_SAFE} and ${LARGEST_SAFE} then ${text} else '''' || ${text} end`
  const [, digits] = /^numeric\((\d+)/.exec(type) ?? []
  if (base !== "numeric" || Number(digits ?? Infinity) <= SAFE_DIGITS) return value
  // Zeros at the end are none: a column may have 18 decimals, and its values few.
  const significant = `length(btrim(translate(${text}, '-.', ''), '0'))`
  return `case when ${value} between -${LARGEST_SAFE} and ${LARGEST_SAFE} and ${significant} <= ${SAFE_DIGITS} then ${text} else '''' || ${text} end`
}

const isDecimal = ({ base }: Column) => base === "numeric" || base === "real" || base === "double precision"
const isMoment = ({ base }: Column) => base.startsWith("timestamp")

/** How SQL writes a value of the column. What it does not change keeps its type, whose text COPY makes by itself. */
const valueOf = (value: string, column: Column, format: Format): string => {
  const kind = markedText(format)
  if (isMoment(column)) {
    // The JSON of a time is its ISO 8601 in quotes.
    if (format.datetime === "iso8601") return `btrim(to_json(${value})::text, '"')`
    return format.datetime === "local" && column.base === "timestamp with time zone" ? `${value}::timestamp` : value
  }
  if (column.base === "boolean") {
    if (format.boolean === "t/f") return value
    if (format.boolean === "true/false") return `${value}::text`
    const [yes, no] = WORDS[format.boolean]
    return `case ${value} when true then '${yes}' when false then '${no}' end`
  }
  // Its lines would be of 76 characters.
  if (column.base === "bytea" && format.binary === "base64") {
    const text = `translate(encode(${value}, 'base64'), chr(10), '')`
    return kind ? `(select case when ${isMarked("b", kind)} then '''' || b else b end from (select ${text}) as one (b))` : text
  }
  const number = format.longNumbers === "text" ? longNumber(value, column) : value
  if (isDecimal(column) && format.decimal === ",") return `replace((${number})::text, '.', ',')`
  if (number !== value) return number
  return kind && !isHarmless(column) ? marking(value, column, kind) : value
}

/** Writes the item of the select list for a column, from the SQL of its values. */
export const selectItem = (column: Column, sql: string, alias: string, format: Format): string => {
  const name = identifier(alias)
  const value = valueOf(sql, column, format)
  return value === name ? name : `${value} as ${name}`
}
