import { Duration, Effect, Schedule } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { discard, ExportStorage } from "../storage/export-storage.ts"
import { ExportStore } from "./export-store.ts"

/**
 * Removes what nobody can ask for any more: exports past their time, files of attempts that died, rows of long ago. Files
 * of exports that this database does not know are removed when they are older than any export may be, and only from this
 * database's own folder.
 */
export class Sweeper extends Effect.Service<Sweeper>()("Sweeper", {
  scoped: Effect.gen(function* () {
    const store = yield* ExportStore
    const storage = yield* ExportStorage
    const ttlMs = Duration.toMillis((yield* AppConfig).exportTtl)

    const sweep = Effect.gen(function* () {
      const expired = yield* store.expireDue
      for (const exportId of yield* store.failAbandoned) {
        yield* Effect.logError("export failed: the queue has given it up").pipe(Effect.annotateLogs({ exportId }))
      }
      // Listed before the rows are read: an attempt that begins in between is not in the list.
      const stored = yield* storage.list
      const { stale, unknown } = yield* store.staleAttempts(stored)
      const removed = [...stale, ...unknown.filter(({ isOurs, ageMs }) => isOurs && ageMs > ttlMs)]
      // One that cannot be removed must not keep the others.
      yield* Effect.forEach(removed, (attempt) => discard(storage, attempt), { discard: true })
      const deleted = yield* store.deleteOldExports
      if (expired.length + removed.length + deleted > 0) {
        yield* Effect.logInfo("swept").pipe(
          Effect.annotateLogs({ expired: expired.length, removedAttempts: removed.length, deletedExports: deleted })
        )
      }
    }).pipe(Effect.catchAll((error) => Effect.logWarning(`${error.logged}; sweeping again in ${limits.sweepMs / 1000} s`)))

    yield* sweep.pipe(Effect.repeat(Schedule.spaced(limits.sweepMs)), Effect.forkScoped)
    return { sweep } as const
  })
}) {}
