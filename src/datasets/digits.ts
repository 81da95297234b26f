import { bounds } from "../bounds.ts"
import { isString, type Column } from "./dataset.ts"

/** Types whose text may look like a number of any length, and is none. */
const TEXTS =
  /^(?:text|character varying|character|bpchar|name|"char"|uuid|bytea|"?bit"?|bit varying|xml|tsvector|tsquery)(?:\[\])*$/
/** A number with an exponent or without one, and anything else that begins with a digit. */
const NUMBER = /(?<![\w.]|\w-)\.?\d[\w.]*(?:(?<=[eE])[+-]\d[\d_]*)?/g
const EXPONENT = /^([\d_.]+)e([+-]?[\d_]+)$/i

/**
 * Whether a value for a column holds a number of more digits than are allowed, as `1e131071` has, which the server would
 * write in full. It finds them in arrays, ranges, records and JSON, too, where a quote or a backslash may stand in one.
 */
export const hasTooManyDigits = (value: string, column: Pick<Column, "base" | "category">): boolean => {
  if (isString(column) || TEXTS.test(column.base)) return false
  const isJson = column.base === "jsonb" || column.base === "json"
  const text = isJson ? value.replaceAll(/"(?:[^"\\]|\\.)*(?:"|$)/gs, '""') : value.replaceAll(/["\\]/g, "")
  return (text.match(NUMBER) ?? []).some((number) => digitsOf(number) > bounds.numberDigits)
}

const digitsOf = (number: string): number => {
  const [, mantissa = number, exponent = "0"] = EXPONENT.exec(number) ?? []
  return mantissa.replaceAll(/[_.]/g, "").length + Math.abs(Number(exponent.replaceAll("_", "")))
}
