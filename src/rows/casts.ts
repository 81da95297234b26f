import { isString, type ConditionOn } from "../datasets/dataset.ts"
import type { SourceConnection } from "./source-connection.ts"
import type { SourceError } from "./source-error.ts"
import { castStatement } from "./statement.ts"

export interface CastFailure<A> {
  readonly of: A
  /** As the server tells it: `invalid input syntax for type integer: "abc"`. */
  readonly detail: string
}

/** Whether the server has to be asked: any text is a string, and a state is no value. */
export const needsCast = ({ condition: { operator }, on }: ConditionOn): boolean =>
  operator !== "is" && operator !== "like" && operator !== "ilike" && !(isString(on) && on.base !== '"char"')

/** SQLSTATE classes 22, data exceptions, and 23, a check of the type. */
const isAboutValue = ({ cause }: SourceError) => /^2[23]/.test((cause as { code?: string } | undefined)?.code ?? "")

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
      failures.push({ of: condition, detail: (error.cause as Error).message })
      await connection.query({ text: "rollback to savepoint value", values: [] })
    }
  }
  return failures
}
