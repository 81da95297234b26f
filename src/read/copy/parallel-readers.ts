import { Effect, Schedule, type Scope } from "effect"
import { limits } from "../../limits.ts"
import type { Connections } from "../../source/admission.ts"
import type { CopyBytes } from "./copy-bytes.ts"
import { Reader } from "./part-buffer.ts"
import type { SourceSession } from "../../source/session.ts"
import { sqlState, toSourceError, type SourceError } from "../../source/source-error.ts"

/**
 * Dismisses the reader when it was held up nearly all of the time, since one connection is as fast as what takes the
 * bytes, when others wait for its connection and its part, which may be a whole partition, does not end, and when all
 * wait for it and it brings nothing.
 */
const reviewed = (source: CopyBytes, reader: Reader) => {
  let pausedMs = 0
  let arrivals = 0
  let silentMs = 0
  return Effect.sync(() => {
    const held = reader.pausedMs - pausedMs
    pausedMs = reader.pausedMs
    silentMs = source.waitsFor(reader) && reader.arrivals === arrivals ? silentMs + limits.readerReviewMs : 0
    arrivals = reader.arrivals
    if (reader.wanted()) return "another export waits for its connection"
    if (silentMs >= limits.readerSilentMs) return "it makes no progress"
    return held > limits.readerReviewMs * limits.readerPausedShare ? "what it reads is not taken fast enough" : undefined
  }).pipe(
    Effect.delay(limits.readerReviewMs),
    Effect.repeat({ until: (reason) => reason !== undefined }),
    Effect.flatMap((reason) => Effect.logDebug(`a reader is given up: ${reason}`)),
    Effect.map(() => source.dismiss(reader))
  )
}

/** A connection in the export's snapshot. */
type Connect = Effect.Effect<SourceSession, SourceError, Scope.Scope>

/**
 * Says whether the snapshot is gone. It ends with the export's own session, for example because a client left; that
 * session reports why.
 */
const isSnapshotGone = (error: SourceError): boolean => ["42704", "55000"].includes(sqlState(error))

/** One helper's time with an export: until nothing is left to do, it is wanted elsewhere, or is of no use. */
const help = (source: CopyBytes, connect: Connect, wanted: () => boolean) =>
  Effect.gen(function* () {
    const connection = yield* connect.pipe(
      Effect.catchIf(isSnapshotGone, ({ message }) =>
        Effect.logDebug(`a reader connected after the snapshot had ended: ${message}`)
      )
    )
    if (!connection) return
    const reader = new Reader(connection, wanted)
    const reading = Effect.tryPromise({
      try: async () => {
        await source.help(reader)
        if (!reader.dismissed) await reader.connection.commit()
      },
      catch: toSourceError
    })
    yield* Effect.raceFirst(reading, reviewed(source, reader))
  }).pipe(
    Effect.scoped,
    // The lead reads what was left, and says whether it can be read at all.
    Effect.catchAll((error) => Effect.logWarning(`a reader failed: ${error.logged}`))
  )

/**
 * Keeps a helper at work on an export whose snapshot was exported: it comes as soon as one is to be had, and when it
 * has left, it comes back after a while. Ends with the last part.
 */
export const assist = (source: CopyBytes, connections: Connections, connect: Connect) => {
  // What it has let wait is its own until it is taken.
  const drained = Effect.sleep(limits.readerReviewMs).pipe(
    Effect.repeat({ until: () => source.waitingBytes < limits.readAheadBytes })
  )
  const pauses = Schedule.union(Schedule.exponential(limits.readerReturnMs), Schedule.spaced(limits.readerReturnMaxMs))
  return connections
    .helper(help(source, connect, connections.wanted), drained)
    .pipe(Effect.repeat({ schedule: pauses, until: () => source.allPartsBegun }))
}
