import { operatorsOf } from "../datasets/conditions.ts"
import { isString, type ConditionOn } from "../datasets/dataset.ts"
import type { SourceConnection } from "./source-connection.ts"
import { sqlState, type SourceError } from "./source-error.ts"
import { castStatement, readStatement } from "./statement.ts"

export interface CastFailure<A> {
  readonly of: A
  /** With what the server tells: `must be of type integer: invalid input syntax for type integer: "abc"`. */
  readonly detail: string
}

/** Every server can take it: others may have no such character. */
const isAscii = (value: string) => !/[^ -~\s]/.test(value)

/** Whether the server has to be asked: nearly any text is a string or a pattern, and a state is no value. */
export const needsCast = ({ condition: { operator, values }, on }: ConditionOn): boolean =>
  operator !== "is" && !(isString(on) && on.base !== '"char"' && values.every(isAscii))

/**
 * SQLSTATE classes 22, data exceptions, 23, a check of the type, 54, limits of an array for example, 0A, and 42: a type
 * that the role may not use, or the syntax of a value, as types for text search have one.
 */
const isAboutValue = (error: SourceError) => /^(22|23|54|0A|42)/.test(sqlState(error))

/** A bare value that begins as an operator would: `ge.100`. */
const operatorHint = ({ condition: { operator, values }, on }: ConditionOn): string =>
  operator === "eq" && /^[a-z]+\./.test(values[0]!) ? `; operators are ${operatorsOf(on).join(", ")}` : ""

/** The conditions with values that the server does not take for their columns. */
export const findCastFailures = async <A extends ConditionOn>(
  connection: SourceConnection,
  conditions: ReadonlyArray<A>
): Promise<ReadonlyArray<CastFailure<A>>> => {
  const failures: Array<CastFailure<A>> = []
  for (const condition of conditions.filter(needsCast)) {
    await connection.query({ text: "savepoint value", values: [] })
    try {
      await connection.query(castStatement(condition))
    } catch (cause) {
      const error = cause as SourceError
      if (!isAboutValue(error)) throw cause
      const detail = `must be of type ${condition.on.type}: ${(error.cause as Error).message}${operatorHint(condition)}`
      failures.push({ of: condition, detail })
      await connection.query({ text: "rollback to savepoint value", values: [] })
    }
  }
  return failures
}

/** The conditions with their values as the session reads them: a time has its offset then, whatever the time zone of an export. */
export const readConditions = (
  connection: SourceConnection,
  conditions: ReadonlyArray<ConditionOn>
): Promise<ReadonlyArray<ConditionOn>> =>
  Promise.all(
    conditions.map(async (one) => {
      if (!needsCast(one)) return one
      const rows = await connection.query<{ readonly value: string }>(readStatement(one))
      return { ...one, condition: { ...one.condition, values: rows.map(({ value }) => value) } }
    })
  )
