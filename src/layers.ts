import { Effect, Layer, Logger, Redacted, Schedule } from "effect"
import { seedUsers } from "./postgres/demo-users.ts"
import { limits } from "./limits.ts"
import { AppConfig, Databases } from "./config.ts"
import { Compression } from "./http/response/compression.ts"
import { HttpServer } from "./http/server.ts"
import { ExportChanges } from "./jobs/export-changes.ts"
import { ExportStore } from "./jobs/export-store.ts"
import { Exporter } from "./jobs/exporter.ts"
import { ExportQueue } from "./jobs/queue.ts"
import { SourceWait } from "./jobs/source-wait.ts"
import { Sweeper } from "./jobs/sweeper.ts"
import { Worker } from "./jobs/worker.ts"
import { memoryRateLimiter } from "./rate-limit/memory-rate-limiter.ts"
import { StreamTurns } from "./rate-limit/stream-turns.ts"
import { AppDatabase } from "./postgres/app-database.ts"
import { startEmbeddedPostgres } from "./embedded-postgres/embedded-postgres.ts"
import { migrateDatabase } from "./postgres/migrate.ts"
import { reservedParameters } from "./exports/parameters.ts"
import { DatasetRegistry } from "./datasets/registry.ts"
import { SourceOutage } from "./source/outage.ts"
import { ExportReader } from "./read/export-reader.ts"
import { fileStorage } from "./storage/local/file-storage.ts"

/** Log lines of the chosen form and level, on standard output. */
const loggerLive = Layer.unwrapEffect(
  Effect.map(AppConfig, ({ logFormat, logLevel }) =>
    Layer.merge(logFormat === "pretty" ? Logger.pretty : Logger.json, Logger.minimumLogLevel(logLevel))
  )
)

/** Provides the databases: reachable, migrated, and seeded if SEED_ROWS asks for it. The embedded one lives as long as the scope. */
const databasesLive = Layer.scoped(
  Databases,
  Effect.gen(function* () {
    const { database, source, dataDir, seedRows } = yield* AppConfig
    const embedded = database ? undefined : yield* startEmbeddedPostgres(dataDir)
    const app = database ?? Redacted.make(embedded!.url)
    const reading = embedded ? Redacted.make(embedded.sourceUrl) : app
    const id = yield* migrateDatabase(Redacted.value(app)).pipe(
      Effect.tapError((error) =>
        Effect.logWarning(`${error.logged}${error.unavailable ? `; trying again for up to ${limits.startMs / 1000} s` : ""}`)
      ),
      // A database that starts together with the service needs a moment.
      Effect.retry({
        while: (error) => error.unavailable,
        schedule: Schedule.spaced("1 second").pipe(Schedule.upTo(limits.startMs))
      })
    )
    if (seedRows > 0) yield* seedUsers(Redacted.value(app), seedRows)
    return { app, source: source ?? reading, id }
  })
)

const storageLive = Layer.unwrapEffect(
  Effect.zipWith(AppConfig, Databases, ({ storagePath }, { id }) => fileStorage(storagePath, id))
)

/** The outside: settings, the log, the databases, and where files are kept. */
const infrastructure = Layer.mergeAll(AppDatabase.Default, SourceOutage.Default, storageLive).pipe(
  Layer.provideMerge(databasesLive),
  Layer.provideMerge(loggerLive),
  Layer.provideMerge(AppConfig.Default)
)

/** Exports: what may be exported, how it is read, and the jobs that do it. */
const domain = Layer.mergeAll(Worker.Default, Sweeper.Default).pipe(
  Layer.provide(Exporter.Default),
  Layer.provide(SourceWait.Default),
  Layer.provideMerge(Layer.mergeAll(ExportStore.Default, ExportChanges.Default, ExportQueue.Default, ExportReader.Default)),
  Layer.provideMerge(DatasetRegistry.Default(reservedParameters))
)

/** What clients reach. */
const http = HttpServer.Default.pipe(Layer.provide(Layer.mergeAll(Compression.Default, memoryRateLimiter, StreamTurns.Default)))

/** The one place that picks live implementations. What is above in a group, or in a later group, is released first. */
export const live = http.pipe(Layer.provideMerge(domain), Layer.provideMerge(infrastructure))
