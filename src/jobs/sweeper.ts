import { Duration, Effect, Schedule } from "effect"
import { AppConfig } from "../config.ts"
import { limits } from "../limits.ts"
import { discard, ExportStorage, type Attempt } from "../storage/export-storage.ts"
import { ExportStore } from "./export-store.ts"

const attemptsUpTo = ({ id, epoch }: Attempt): ReadonlyArray<Attempt> =>
  Array.from({ length: epoch }, (_, before) => ({ id, epoch: before + 1 }))

/**
 * Deletes expired exports, orphaned files and old rows.
 *
 * Every `sweepMs` it removes the files that the database knows to be of no use: those of exports that have ended without
 * a file to serve. The storage is not asked what it has, since a list of it may be long, and cost money. Only at start and
 * every `storageSweepMs` it is listed, for files that a process which died has left. Files of exports that this database
 * does not know are removed when they are older than any export may be, and only from this database's own folder.
 */
export class Sweeper extends Effect.Service<Sweeper>()("Sweeper", {
  scoped: Effect.gen(function* () {
    const store = yield* ExportStore
    const storage = yield* ExportStorage
    const ttlMs = Duration.toMillis((yield* AppConfig).exportTtl)

    const removeFiles = Effect.gen(function* () {
      const ended = yield* store.endedExports
      // One that cannot be removed must not keep the others.
      const [failures, removed] = yield* Effect.partition(ended, (last) =>
        Effect.as(Effect.forEach(attemptsUpTo(last), storage.remove, { discard: true }), last.id)
      )
      if (removed.length > 0) yield* store.markFilesRemoved(removed)
      const [first] = failures
      if (first) yield* Effect.logWarning(`cannot remove files of ${failures.length} exports, trying again: ${first.logged}`)
    })

    const sweep = Effect.gen(function* () {
      const expired = yield* store.expireDue
      for (const exportId of yield* store.failAbandoned) {
        yield* Effect.logError("export failed: the queue has given it up").pipe(Effect.annotateLogs({ exportId }))
      }
      yield* removeFiles
      const deleted = yield* store.deleteOldExports
      if (expired.length + deleted > 0) {
        yield* Effect.logInfo("swept").pipe(Effect.annotateLogs({ expired: expired.length, deletedExports: deleted }))
      }
    }).pipe(Effect.catchAll((error) => Effect.logWarning(`${error.logged}; sweeping again in ${limits.sweepMs / 1000} s`)))

    const sweepStorage = Effect.gen(function* () {
      // Listed before the rows are read: an attempt that begins in between is not in the list.
      const stored = yield* storage.list
      const { stale, unknown } = yield* store.staleAttempts(stored)
      const removed = [...stale, ...unknown.filter(({ isOurs, ageMs }) => isOurs && ageMs > ttlMs)]
      yield* Effect.forEach(removed, (attempt) => discard(storage, attempt), { discard: true })
      if (removed.length > 0) {
        yield* Effect.logInfo("removed orphaned files").pipe(Effect.annotateLogs({ removedAttempts: removed.length }))
      }
    }).pipe(
      Effect.tapError((error) => Effect.logWarning(`${error.logged}; listing it again in ${limits.sweepMs / 1000} s`)),
      Effect.retry(Schedule.spaced(limits.sweepMs))
    )

    yield* sweep.pipe(Effect.repeat(Schedule.spaced(limits.sweepMs)), Effect.forkScoped)
    yield* sweepStorage.pipe(Effect.repeat(Schedule.spaced(limits.storageSweepMs)), Effect.forkScoped)
    return { sweep, sweepStorage } as const
  })
}) {}
