import type { Format } from "../csv/format.ts"
import { isString, type Column } from "../datasets/dataset.ts"
import { identifier } from "./identifier.ts"

/** More digits than these a spreadsheet rounds. */
const SAFE_DIGITS = 15
const LARGEST_SAFE = "9".repeat(SAFE_DIGITS)

/** Types whose text never begins as a formula does, or is a number: that is to stay one. Arrays, ranges and records do neither. */
const HARMLESS = new Set(
  `smallint,integer,bigint,oid,numeric,real,double precision,money,boolean,date,interval,uuid,bytea,json,jsonb,inet,cidr,macaddr,
   macaddr8,time without time zone,time with time zone,timestamp without time zone,timestamp with time zone,"bit",bit varying`
    .split(",")
    .map((type) => type.trim())
)
const isHarmless = ({ base, category }: Column) => HARMLESS.has(base) || "ARC".includes(category)

/**
 * Text that begins as a formula, also by full-width characters. Apostrophes may stand before it: one more is put
 * there, so that taking one away always gives the value.
 */
const FORMULA = String.raw`^''*([\t\r\n]|\s*[=+@\uff1d\uff0b\uff0d\uff20-])`
/** Text of digits alone, which a spreadsheet takes for a number. */
const LONG_NUMBER = String.raw`^''*\s*\d[\d.,]{15,}\s*$`

const WORDS = { "yes/no": ["yes", "no"], "1/0": ["1", "0"] } as const

/**
 * Text that a spreadsheet would take for a formula, with an apostrophe before it. Nearly all is decided by its first
 * byte, which a cast to "char" gives at a tenth of the cost.
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 */
const withoutFormula = (value: string, column: Column, longNumbers: Format["longNumbers"]): string => {
  const text = `${value}::text`
  const own = isString(column) && column.base !== '"char"' ? value : text
  // Padding is part of a `bpchar`, and lost where it becomes text.
  const [kept, marked] = column.base === "bpchar" ? [value, `concat('''', ${value})::bpchar`] : [own, `'''' || ${text}`]
  return (
    `case when ${own}::"char" between 'A' and '~' then ${kept} ` +
    `when ${text} ~ '${longNumbers === "text" ? `${FORMULA}|${LONG_NUMBER}` : FORMULA}' then ${marked} else ${kept} end`
  )
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
    return format.formulas === "escape" ? `regexp_replace(${text}, '^[+]', '''+')` : text
  }
  const number = format.longNumbers === "text" ? longNumber(value, column) : value
  if (isDecimal(column) && format.decimal === ",") return `replace((${number})::text, '.', ',')`
  if (number !== value) return number
  return format.formulas === "escape" && !isHarmless(column) ? withoutFormula(value, column, format.longNumbers) : value
}

/** What the select list has for a column, by the SQL of its values. */
export const selectItem = (column: Column, sql: string, alias: string, format: Format): string => {
  const name = identifier(alias)
  const value = valueOf(sql, column, format)
  return value === name ? name : `${value} as ${name}`
}

/** A header cell, by the same rule. */
export const headerCell = (text: string, { formulas }: Format): string =>
  formulas === "escape" && /^'*([\t\r\n]|\s*[=+@＝＋－＠-])/u.test(text) ? `'${text}` : text
