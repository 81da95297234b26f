import { Effect, Schedule } from "effect"
import { limits } from "../config.ts"
import type { Connections } from "./connections.ts"
import type { CopySource } from "./copy-source.ts"
import { Reader } from "./open-part.ts"
import { connectSource, toSourceError } from "./source-connection.ts"

/** Ends when the reader was held up for so much of the time that it was dismissed. */
const reviewed = (source: CopySource, reader: Reader) => {
  let heldMs = 0
  return Effect.suspend(() => {
    const held = reader.heldMs - heldMs
    heldMs = reader.heldMs
    return Effect.succeed(held > limits.helperReviewMs * limits.helperHeldShare && source.dismiss(reader))
  }).pipe(Effect.delay(limits.helperReviewMs), Effect.repeat({ until: (dismissed) => dismissed }))
}

/** One helper's time with an export: until nothing is left to do, it is wanted elsewhere, or is of no use. */
const help = (source: CopySource, url: string, snapshot: string, wanted: () => boolean) =>
  Effect.gen(function* () {
    const reader = new Reader(yield* connectSource(url, snapshot))
    const reading = Effect.tryPromise({
      try: async () => {
        await source.help(reader, wanted)
        if (!reader.dismissed) await reader.connection.commit()
      },
      catch: toSourceError
    })
    yield* Effect.raceFirst(reading, reviewed(source, reader))
  }).pipe(
    Effect.scoped,
    Effect.tapError((error) => Effect.logWarning(`a helping connection ended: ${error.message}`)),
    // Only a part that the lead will not come to is worth a hurry.
    Effect.retry({
      while: (error) => error.retryable && source.leftBehind,
      schedule: Schedule.intersect(Schedule.spaced(limits.partRetryMs), Schedule.recurs(limits.partRetries))
    }),
    Effect.catchAll((error) => (error.retryable && !source.leftBehind ? Effect.void : Effect.sync(() => source.fail(error))))
  )

/**
 * Keeps a helper at work on an export whose snapshot was exported: it comes as soon as one is to be had, and when it
 * has left, it comes back after a while. Ends with the last part.
 */
export const assist = (source: CopySource, connections: Connections, url: string, snapshot: string) => {
  // What it has let wait is its own until it is taken.
  const drained = Effect.sleep(limits.helperReviewMs).pipe(
    Effect.repeat({ until: () => source.waitingBytes < limits.readAheadBytes })
  )
  const pauses = Schedule.union(Schedule.exponential(limits.helperPauseMs), Schedule.spaced(limits.helperPauseMaxMs))
  return connections
    .helper(help(source, url, snapshot, connections.wanted), drained)
    .pipe(Effect.repeat({ schedule: pauses, until: () => source.begunAll }))
}
