import { isString, type Column } from "../column.ts"
import { limits } from "../../limits.ts"

/** Types whose text may look like a long number without being one. */
const TEXTS =
  /^(?:text|character varying|character|bpchar|name|"char"|uuid|bytea|"?bit"?|bit varying|xml|tsvector|tsquery)(?:\[\])*$/
/** Matches a number with or without an exponent, and anything else that begins with a digit. */
const NUMBER = /(?<![\w.]|\w-)\.?\d[\w.]*(?:(?<=[eE])[+-]\d[\d_]*)?/g
const EXPONENT = /^([\d_.]+)e([+-]?[\d_]+)$/i

/**
 * Says whether a value for a column contains a number of more digits than are allowed, as `1e131071` does, which the
 * server would write out. Numbers in arrays, ranges, records and JSON count, too; there a quote or a backslash may stand
 * within a number.
 */
export const hasTooManyDigits = (value: string, column: Pick<Column, "base" | "category">): boolean => {
  if (isString(column) || TEXTS.test(column.base)) return false
  const isJson = column.base === "jsonb" || column.base === "json"
  const text = isJson ? value.replaceAll(/"(?:[^"\\]|\\.)*(?:"|$)/gs, '""') : value.replaceAll(/["\\]/g, "")
  return (text.match(NUMBER) ?? []).some((number) => digitsOf(number) > limits.numberDigits)
}

const digitsOf = (number: string): number => {
  const [, mantissa = number, exponent = "0"] = EXPONENT.exec(number) ?? []
  return mantissa.replaceAll(/[_.]/g, "").length + Math.abs(Number(exponent.replaceAll("_", "")))
}
