/** `bun run seed`: demo data into the configured database, or into the embedded one while no service runs on it. */
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import { Effect, Redacted } from "effect"
import { AppConfig } from "../src/config.ts"
import { startEmbeddedPostgres } from "../src/embedded-postgres/embedded-postgres.ts"
import { reportFailure } from "../src/report-failure.ts"
import { seedUsers } from "../src/postgres/demo-users.ts"

const DEFAULT_ROWS = 1_000_000

Effect.gen(function* () {
  const { database, dataDir, seedRows } = yield* AppConfig
  const url = database ? Redacted.value(database) : (yield* startEmbeddedPostgres(dataDir)).url
  yield* seedUsers(url, seedRows || DEFAULT_ROWS)
}).pipe(
  Effect.scoped,
  Effect.provide(AppConfig.Default),
  reportFailure("seed"),
  BunRuntime.runMain({ disableErrorReporting: true })
)
