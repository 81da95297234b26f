import { Cause, ConfigError, Effect } from "effect"
import { describeConfigError } from "./config.ts"

const describe = (error: unknown): string => {
  if (ConfigError.isConfigError(error)) return describeConfigError(error)
  const { logged } = error as { readonly logged?: string }
  if (logged !== undefined) return logged
  // An UnknownException has no message of its own; the error that it wraps has one.
  const cause = (error as { readonly cause?: unknown }).cause
  const { message } = (error instanceof Cause.UnknownException ? cause : error) as { readonly message?: unknown }
  return String(message)
}

/** Reports in one line on standard error why a program failed. `verb` continues the sentence "Cannot …". */
export const reportFailure =
  (verb: string) =>
  <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.tapErrorCause(program, (cause) =>
      Effect.sync(() => {
        const failure = Cause.failureOption(cause)
        console.error(`Cannot ${verb}: ${failure._tag === "Some" ? describe(failure.value) : Cause.pretty(cause)}`)
      })
    )
