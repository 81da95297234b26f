import { Effect, Layer, Logger, Redacted, Schedule } from "effect"
import { seedUsers } from "../seeds/users.ts"
import { bounds } from "./bounds.ts"
import { AppConfig, Databases } from "./config.ts"
import { Compression } from "./http/compression.ts"
import { DatasetRoutes } from "./http/datasets.ts"
import { DownloadRoute } from "./http/download.ts"
import { EstimateRoute } from "./http/estimate.ts"
import { EventsRoute } from "./http/events.ts"
import { ExportRoutes } from "./http/exports.ts"
import { HealthRoutes } from "./http/health.ts"
import { HttpServer } from "./http/server.ts"
import { StreamRoute } from "./http/stream.ts"
import { ExportChanges } from "./jobs/export-changes.ts"
import { ExportStore } from "./jobs/export-store.ts"
import { Exporter } from "./jobs/exporter.ts"
import { ExportQueue } from "./jobs/queue.ts"
import { SourceWait } from "./jobs/source-wait.ts"
import { Sweeper } from "./jobs/sweeper.ts"
import { Worker } from "./jobs/worker.ts"
import { memoryRateLimiter } from "./limits/memory-rate-limiter.ts"
import { StreamTurns } from "./limits/stream-turns.ts"
import { Control } from "./postgres/control.ts"
import { startEmbeddedPostgres } from "./postgres/embedded.ts"
import { migrateDatabase } from "./postgres/migrate.ts"
import { Datasets } from "./rows/datasets.ts"
import { SourceOutage } from "./rows/outage.ts"
import { RowSource } from "./rows/row-source.ts"
import { fileStorage } from "./storage/file-storage.ts"

/** Log lines of the chosen form and level, on standard output. */
const loggerLive = Layer.unwrapEffect(
  Effect.map(AppConfig, ({ logFormat, logLevel }) =>
    Layer.merge(logFormat === "pretty" ? Logger.pretty : Logger.json, Logger.minimumLogLevel(logLevel))
  )
)

/** The databases, reachable, migrated and, if so wanted, seeded; the embedded one lives as long as the scope. */
const databasesLive = Layer.scoped(
  Databases,
  Effect.gen(function* () {
    const { database, source, dataDir, seedRows } = yield* AppConfig
    const embedded = database ? undefined : yield* startEmbeddedPostgres(dataDir)
    const control = database ?? Redacted.make(embedded!.url)
    const reading = embedded ? Redacted.make(embedded.sourceUrl) : control
    const id = yield* migrateDatabase(Redacted.value(control)).pipe(
      Effect.tapError((error) =>
        Effect.logWarning(`${error.logged}${error.unavailable ? `; trying again for up to ${bounds.startMs / 1000} s` : ""}`)
      ),
      // A database that starts together with the service needs a moment.
      Effect.retry({
        while: (error) => error.unavailable,
        schedule: Schedule.spaced("1 second").pipe(Schedule.upTo(bounds.startMs))
      })
    )
    if (seedRows > 0) yield* seedUsers(Redacted.value(control), seedRows)
    return { control, source: source ?? reading, id }
  })
)

/** The one place that picks live implementations. */
export const live = Layer.mergeAll(HttpServer.Default, Worker.Default, Sweeper.Default).pipe(
  Layer.provide(
    Layer.mergeAll(
      DatasetRoutes.Default,
      DownloadRoute.Default,
      EstimateRoute.Default,
      EventsRoute.Default,
      StreamRoute.Default,
      HealthRoutes.Default
    )
  ),
  Layer.provide(Layer.mergeAll(ExportRoutes.Default, Compression.Default)),
  Layer.provide(Exporter.Default),
  Layer.provide(SourceWait.Default),
  Layer.provide(
    Layer.mergeAll(
      ExportStore.Default,
      ExportChanges.Default,
      ExportQueue.Default,
      RowSource.Default,
      memoryRateLimiter,
      StreamTurns.Default
    )
  ),
  Layer.provide(Datasets.Default),
  Layer.provide(SourceOutage.Default),
  Layer.provide(
    Layer.unwrapEffect(Effect.zipWith(AppConfig, Databases, ({ storagePath }, { id }) => fileStorage(storagePath, id)))
  ),
  Layer.provide(Control.Default),
  Layer.provide(databasesLive),
  Layer.provideMerge(loggerLive),
  Layer.provide(AppConfig.Default)
)
