import { Clock, Effect } from "effect"
import { limits } from "../limits.ts"
import type { SourceError } from "./source-error.ts"

/**
 * Records whether something that the service needs can be reached, from the results of those who try. However often they
 * try, the log has one line when an outage begins, one a minute while it lasts, and one when it is over.
 */
export interface Outage {
  /** Returns when the outage began, in milliseconds since 1970; undefined while there is none. */
  readonly since: () => number | undefined
  readonly failed: (reason: string) => Effect.Effect<void>
  readonly over: Effect.Effect<void>
}

/** Makes the record of something that begins the log's sentences as `subject`. */
export const makeOutage = (subject: string): Outage => {
  let since: number | undefined
  let loggedAt = Number.NEGATIVE_INFINITY
  /** Whether the outage was logged. Outages that come and go within a minute are logged once. */
  let announced = false

  const failed = (reason: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const begins = since === undefined
      since ??= now
      if (now - loggedAt < limits.outageLogMs) return Effect.void
      loggedAt = now
      announced = true
      const from = begins ? "" : ` since ${new Date(since).toISOString()}`
      return Effect.logWarning(`${subject} cannot be reached${from}: ${reason}`)
    })

  const over = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (since === undefined) return Effect.void
    const seconds = Math.round((now - since) / 1000)
    since = undefined
    if (!announced) return Effect.void
    announced = false
    return Effect.logInfo(`${subject} is reached again, after ${seconds} s`)
  })

  return { since: () => since, failed, over }
}

/** Records whether the source database can be reached. */
export class SourceOutage extends Effect.Service<SourceOutage>()("SourceOutage", {
  sync: () => {
    const outage = makeOutage("the source database")
    const failed = (error: SourceError) => outage.failed(error.logged)
    /** Notes the result of an attempt to reach the source. */
    const watch = <A, R>(connect: Effect.Effect<A, SourceError, R>): Effect.Effect<A, SourceError, R> =>
      connect.pipe(
        Effect.tap(outage.over),
        Effect.tapError((error) => (error.outage ? failed(error) : Effect.void))
      )
    return { since: outage.since, failed, watch } as const
  }
}) {}
