import { Data, Effect, Redacted } from "effect"
import postgres from "postgres"
import { limits } from "../limits.ts"
import { Databases } from "../config.ts"

/**
 * The app database failed. If `unavailable`, it cannot be reached just now, and the same call may succeed later; otherwise
 * it is a defect of Sluice. `message` is for people who export, and `logged` for the log.
 */
export class DatabaseError extends Data.TaggedError("DatabaseError")<{
  readonly message: string
  readonly logged: string
  readonly unavailable: boolean
  readonly cause: unknown
}> {
  static readonly problem = {
    type: "database-unavailable",
    status: 503,
    meaning: "Sluice's own database cannot be reached just now; try again."
  } as const
}

const AWAY = "Sluice's own database cannot be reached just now"

/**
 * SQLSTATE classes of a server that is away, full or shutting down, and 25006 of one that is read-only: after a failover
 * the connection may lead to a standby. All other codes are errors of the socket. Those begin with E, as no SQLSTATE does,
 * and one of them, EPIPE, has as many letters.
 */
const isUnavailable = (code: unknown) =>
  typeof code !== "string" || !/^[^E][0-9A-Z]{4}$/.test(code) || /^(08|53|57)|^25006$/.test(code)

export const toDatabaseError = (verb: string) => (thrown: unknown) => {
  // Drizzle wraps what the driver threw.
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown
  const { code, message } = cause as { code?: unknown; message?: unknown }
  const unavailable = isUnavailable(code)
  const logged = `Cannot ${verb}: ${[code, message].filter(Boolean).join(": ")}`
  // 22P05: the encoding of the database lacks characters of the request, and the server names them.
  const shown = code === "22P05" ? logged : `Cannot ${verb}: an internal error happened; the log says more`
  return new DatabaseError({ message: unavailable ? AWAY : shown, logged, unavailable, cause })
}

const options = (application: string, max: number): postgres.Options<{}> => ({
  max,
  idle_timeout: 60,
  connect_timeout: limits.appConnectSeconds,
  // By default the pause grows to 20 s, during which a database that is back still counts as unavailable.
  backoff: () => limits.appReconnectSeconds,
  onnotice: () => {},
  connection: { application_name: application, statement_timeout: limits.appStatementMs }
})

/** Closes a client, whose database may have fallen silent. Waits for at most `closeMs`, and ignores failures. */
export const closeWithin = (close: () => Promise<void>): Effect.Effect<void> =>
  Effect.tryPromise(close).pipe(Effect.interruptible, Effect.timeout(limits.closeMs), Effect.ignore)

/** Runs a query of the app database for at most `appStatementMs`. `verb` continues the sentence "Cannot …". */
export const runQuery = <A>(verb: string, work: () => Promise<A>): Effect.Effect<A, DatabaseError> =>
  Effect.tryPromise({ try: work, catch: toDatabaseError(verb) }).pipe(
    // A finalizer is uninterruptible, and timeoutFail would wait there until the query ends.
    Effect.interruptible,
    Effect.timeoutFail({
      duration: limits.appStatementMs,
      onTimeout: () =>
        new DatabaseError({
          message: AWAY,
          logged: `Cannot ${verb} within ${limits.appStatementMs / 1000} s`,
          unavailable: true,
          cause: undefined
        })
    })
  )

/** Owns the client of the app database. Each query is one statement, since a transaction is lost with its connection. */
export class AppDatabase extends Effect.Service<AppDatabase>()("AppDatabase", {
  scoped: Effect.gen(function* () {
    const url = Redacted.value((yield* Databases).app)
    const sql = yield* Effect.acquireRelease(
      Effect.sync(() => postgres(url, options("sluice", limits.appConnections))),
      (client) => closeWithin(() => client.end({ timeout: 2 }))
    )
    return { sql } as const
  })
}) {}
