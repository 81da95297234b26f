/** The store and the queue on a database of their own, as the tests of `jobs` call them. */
import { Effect, Layer, Redacted } from "effect"
import type postgres from "postgres"
import { Databases } from "../../src/config.ts"
import { ExportChanges } from "../../src/jobs/export-changes.ts"
import { ExportStore } from "../../src/jobs/export-store.ts"
import { ExportQueue } from "../../src/jobs/queue.ts"
import type { ClaimedJob } from "../../src/jobs/store/commands.ts"
import { AppDatabase } from "../../src/postgres/app-database.ts"
import { specOf } from "../support/datasets.ts"
import { settings } from "../support/effect.ts"
import { connect, freshDatabase, inScope } from "../support/shared-service.ts"

export interface Jobs {
  readonly sql: postgres.Sql
  readonly store: ExportStore
  readonly queue: ExportQueue
  readonly changes: ExportChanges
  /** Creates an export, with its delivery, and returns its id. */
  readonly created: () => Promise<string>
  readonly claimed: (id: string) => Promise<ClaimedJob>
}

export const startJobs = async (variables: Readonly<Record<string, string>> = {}): Promise<Jobs> => {
  const url = await freshDatabase()
  const redacted = Redacted.make(url)
  const databases = Layer.succeed(Databases, { app: redacted, source: redacted, id: crypto.randomUUID() })
  const layers = Layer.mergeAll(ExportStore.Default, ExportQueue.Default, ExportChanges.Default).pipe(
    Layer.provide(AppDatabase.Default),
    Layer.provide(databases),
    Layer.provide(settings(variables))
  )
  const services = await inScope(Layer.build(layers))
  const [store, queue, changes] = Effect.runSync(Effect.provide(Effect.all([ExportStore, ExportQueue, ExportChanges]), services))
  return {
    sql: await connect(url, 1),
    store,
    queue,
    changes,
    created: () => Effect.runPromise(store.create(specOf(), queue.enqueue)),
    claimed: async (id) => (await Effect.runPromise(store.claim(id)))!
  }
}
