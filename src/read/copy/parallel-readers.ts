import { Effect, Schedule, type Scope } from "effect"
import { limits } from "../../limits.ts"
import type { Admission } from "../../source/admission.ts"
import type { SourceSession } from "../../source/session.ts"
import { sqlState, toSourceError, type SourceError } from "../../source/source-error.ts"
import type { CopyBytes } from "./copy-bytes.ts"
import { PartReader } from "./parts.ts"

/**
 * Stops a further reader in three cases: others wait for its session, and its part, which may be a whole partition, does
 * not end; it was paused nearly all of the time, since the leader alone is as fast as what takes the bytes; or all wait
 * for it and it makes no progress.
 */
const superviseReader = (bytes: CopyBytes, reader: PartReader) => {
  let lastPausedMs = 0
  let lastArrivals = 0
  let silentMs = 0
  return Effect.sync(() => {
    const pausedMs = reader.pausedMs - lastPausedMs
    lastPausedMs = reader.pausedMs
    silentMs = bytes.waitsFor(reader) && reader.arrivals === lastArrivals ? silentMs + limits.readerReviewMs : 0
    lastArrivals = reader.arrivals
    if (reader.shouldYield()) return "another export waits for a session"
    if (silentMs >= limits.readerSilentMs) return "it makes no progress"
    return pausedMs > limits.readerReviewMs * limits.readerPausedShare ? "its client is slower than one session" : undefined
  }).pipe(
    Effect.delay(limits.readerReviewMs),
    Effect.repeat({ until: (reason) => reason !== undefined }),
    Effect.flatMap((reason) => Effect.logDebug(`stopped a reader: ${reason}`)),
    Effect.map(() => bytes.stop(reader))
  )
}

/** Opens a session in the snapshot of the export. */
type OpenInSnapshot = Effect.Effect<SourceSession, SourceError, Scope.Scope>

/**
 * Says whether the snapshot is gone. It ends with the leader's session, for example because a client left; that session
 * reports why.
 */
const isSnapshotGone = (error: SourceError): boolean => ["42704", "55000"].includes(sqlState(error))

/** Reads parts in one further session, until nothing is left to do or the reader is stopped. */
const readOnce = (bytes: CopyBytes, open: OpenInSnapshot, shouldYield: () => boolean) =>
  Effect.gen(function* () {
    const session = yield* open.pipe(
      Effect.catchIf(isSnapshotGone, ({ message }) => Effect.logDebug(`the snapshot ended before a reader had begun: ${message}`))
    )
    if (!session) return
    const reader = new PartReader(session, shouldYield)
    const reading = Effect.tryPromise({
      try: async () => {
        await bytes.readWith(reader)
        if (!reader.isStopped) await session.commit()
      },
      catch: toSourceError
    })
    yield* Effect.raceFirst(reading, superviseReader(bytes, reader))
  }).pipe(
    Effect.scoped,
    // The leader reads what was left, and reports whether it can be read at all.
    Effect.catchAll((error) => Effect.logWarning(`a reader failed, and its part is read again: ${error.logged}`))
  )

/**
 * Keeps one further reader at work on an export whose snapshot was exported. The reader comes as soon as a session is
 * free, and after it was stopped it comes back, each time later. Ends when all parts are begun.
 */
export const keepReader = (bytes: CopyBytes, admission: Admission, open: OpenInSnapshot) => {
  // The bytes that the reader has left count as its own until they are taken.
  const drained = Effect.sleep(limits.readerReviewMs).pipe(
    Effect.repeat({ until: () => bytes.waitingBytes < limits.readAheadBytes })
  )
  const pauses = Schedule.union(Schedule.exponential(limits.readerReturnMs), Schedule.spaced(limits.readerReturnMaxMs))
  return admission
    .tryAcquireReader(readOnce(bytes, open, admission.shouldYield), drained)
    .pipe(Effect.repeat({ schedule: pauses, until: () => bytes.allPartsBegun }))
}
