import { Effect, Queue, type Scope } from "effect"
import { limits } from "../limits.ts"
import { AppDatabase, runQuery } from "../postgres/app-database.ts"
import { channels } from "./store/fragments.ts"

/**
 * Receives the changes of exports, which NOTIFY announces to every instance, over one connection. Notifications are hints:
 * one that is lost while the connection is down costs time, and the row still says what is true.
 */
export class ExportChanges extends Effect.Service<ExportChanges>()("ExportChanges", {
  scoped: Effect.gen(function* () {
    const { sql } = yield* AppDatabase
    /** The functions to call after a change of an export, by its id. */
    const watchers = new Map<string, Set<() => void>>()
    /** Ids of exports that were cancelled, for the one worker of this instance. */
    const cancelled = yield* Queue.sliding<string>(limits.cancelBacklog)

    const changed = (id: string) => {
      for (const watcher of watchers.get(id) ?? []) watcher()
    }
    /** Makes all watchers look again, since nobody knows what was missed while the connection was down. */
    const resync = () => {
      for (const id of watchers.keys()) changed(id)
    }
    yield* runQuery("listen for changes", async () => {
      await sql.listen(channels.changed, changed, resync)
      await sql.listen(channels.cancelled, (id) => void cancelled.unsafeOffer(id))
    })

    /** Calls `onChange` after each change of the export, as long as the scope is open. */
    const watch = Effect.fn("ExportChanges.watch")((id: string, onChange: () => void): Effect.Effect<void, never, Scope.Scope> =>
      Effect.acquireRelease(
        Effect.sync(() => void watchers.set(id, (watchers.get(id) ?? new Set()).add(onChange))),
        () =>
          Effect.sync(() => {
            const set = watchers.get(id)
            if (set?.delete(onChange) && set.size === 0) watchers.delete(id)
          })
      )
    )

    return { watch, cancelled } as const
  })
}) {}
