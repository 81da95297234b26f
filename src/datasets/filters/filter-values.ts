import { isString } from "../column.ts"
import type { ColumnCondition } from "./conditions.ts"
import { isExpression, isOfType, isPattern, isSearch } from "./operators.ts"
import { checkStatement, readStatement } from "./condition-sql.ts"
import type { SourceSession } from "../../source/session.ts"
import { sqlState, type SourceError } from "../../source/source-error.ts"

/** A condition with a value that the server refuses. */
export interface CastFailure<A> {
  readonly condition: A
  /** The mistake, with what the server says: `must be of type integer: invalid input syntax for type integer: "abc"`. */
  readonly detail: string
}

/** Says whether a server of any encoding has the characters of a value. */
const isAscii = (value: string) => !/[^ -~\s]/.test(value)

/**
 * Says whether the server has to check the values. Nearly any text is a string or a pattern of LIKE, and `is` has no
 * values to cast.
 */
export const needsCast = ({ condition: { operator, values }, column }: ColumnCondition): boolean => {
  if (operator === "is" || values.length === 0) return false
  if (isExpression(operator) || isSearch(operator)) return true
  const isPlain = isPattern(operator) || (isString(column) && column.base !== '"char"')
  return !isPlain || !values.every(isAscii)
}

/**
 * Says whether an error is about a value, by its SQLSTATE class: 22, data exceptions; 23, a check of the type; 54, limits
 * of an array for example; 0A; and 42, a type that the role may not use, or the syntax of a value, which types for text
 * search have.
 */
const isAboutValue = (error: SourceError) => /^(22|23|54|0A|42)/.test(sqlState(error))

const expected = ({ condition: { operator }, column }: ColumnCondition): string => {
  if (isExpression(operator)) return "must be a regular expression"
  return isSearch(operator) ? "must be a text search" : `must be of type ${column.type}`
}

/** Lets the server check conditions in one statement. */
const ask = async <A extends ColumnCondition>(
  connection: SourceSession,
  conditions: ReadonlyArray<A>
): Promise<ReadonlyArray<CastFailure<A>> | SourceError> => {
  await connection.query({ text: "savepoint value", values: [] })
  try {
    const [row = {}] = await connection.query<Readonly<Record<string, boolean | null>>>(checkStatement(conditions))
    const detail = "becomes many times longer when the database writes it out"
    return conditions.filter((_, nth) => row[nth] === true).map((condition) => ({ condition, detail }))
  } catch (cause) {
    const error = cause as SourceError
    if (!isAboutValue(error)) throw cause
    await connection.query({ text: "rollback to savepoint value", values: [] })
    return error
  }
}

/**
 * Finds the conditions with values that the server refuses for their columns. It checks all of them at once, and one by
 * one if that fails.
 */
export const findCastFailures = async <A extends ColumnCondition>(
  connection: SourceSession,
  conditions: ReadonlyArray<A>
): Promise<ReadonlyArray<CastFailure<A>>> => {
  const asked = conditions.filter(needsCast)
  if (asked.length === 0) return []
  const all = await ask(connection, asked)
  if (!(all instanceof Error)) return all
  const failures: Array<CastFailure<A>> = []
  for (const condition of asked) {
    const answer = asked.length === 1 ? all : await ask(connection, [condition])
    if (answer instanceof Error)
      failures.push({ condition, detail: `${expected(condition)}: ${(answer.cause as Error).message}` })
    else failures.push(...answer)
  }
  return failures
}

/** Says whether the values are cast to a type; the text of such a value may depend on the session. */
export const isCast = (one: ColumnCondition) => isOfType(one.condition.operator) && needsCast(one)

/** Replaces values by what the session reads them as: a time then has its offset, whatever the time zone of an export. */
export const readConditions = async (
  connection: SourceSession,
  conditions: ReadonlyArray<ColumnCondition>,
  isRead: (one: ColumnCondition) => boolean = isCast
): Promise<ReadonlyArray<ColumnCondition>> => {
  const read = conditions.filter(isRead)
  if (read.length === 0) return conditions
  const [row = {}] = await connection.query<Readonly<Record<string, ReadonlyArray<string>>>>(readStatement(read))
  const values = new Map(read.map((one, nth) => [one, row[nth]!]))
  return conditions.map((one) => ({ ...one, condition: { ...one.condition, values: values.get(one) ?? one.condition.values } }))
}
