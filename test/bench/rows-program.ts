/** Measured by programs.ts: reads the whole table through ExportReader, as a job does, and drops the bytes. */
import { Effect, Layer, Logger, LogLevel, Redacted, Schema } from "effect"
import { AppConfig, Databases } from "../../src/config.ts"
import { exportParameters, toExportSpec } from "../../src/exports/parameters.ts"
import type { ExportBytes } from "../../src/read/export-bytes.ts"
import { reservedParameters } from "../../src/exports/parameters.ts"
import { DatasetRegistry } from "../../src/datasets/registry.ts"
import { SourceOutage } from "../../src/source/outage.ts"
import { ExportReader } from "../../src/read/export-reader.ts"
import type { Printed } from "./case.ts"

const databases = Layer.effect(
  Databases,
  Effect.map(AppConfig, ({ database = Redacted.make("") }) => ({ app: database, source: database, id: "" }))
)

const drain = async (source: ExportBytes): Promise<number> => {
  let bytes = 0
  for (let chunk; (chunk = await source.next()); source.recycle(chunk)) bytes += chunk.length
  return bytes
}

const start = performance.now()
const program = Effect.gen(function* () {
  const dataset = yield* (yield* DatasetRegistry).find("users")
  const parameters = yield* Schema.decodeUnknown(exportParameters(dataset))({
    profile: process.env["BENCH_PROFILE"] ?? "postgres"
  })
  const { bytes: source } = yield* (yield* ExportReader).openForJob(toExportSpec(parameters, dataset))
  const bytes = yield* Effect.promise(() => drain(source))
  const printed: Printed = { seconds: (performance.now() - start) / 1000, rows: source.rows, bytes }
  process.stdout.write(`${JSON.stringify(printed)}\n`)
})

/** Standard output is for the figures. */
const warnings = Layer.merge(
  Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger)),
  Logger.minimumLogLevel(LogLevel.Warning)
)
const services = ExportReader.Default.pipe(
  Layer.provideMerge(DatasetRegistry.Default(reservedParameters)),
  Layer.provide(SourceOutage.Default),
  Layer.provide(databases),
  Layer.provide(AppConfig.Default),
  Layer.provideMerge(warnings)
)
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(services)))
