/** `bun run seed`: demo data into the configured database, or into the embedded one while no service runs on it. */
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import { Effect, Redacted } from "effect"
import { AppConfig } from "../src/config.ts"
import { startEmbeddedPostgres } from "../src/postgres/embedded.ts"
import { tellFailure } from "../src/tell-failure.ts"
import { seedUsers } from "./users.ts"

const DEFAULT_ROWS = 1_000_000

Effect.gen(function* () {
  const { database, dataDir, seedRows } = yield* AppConfig
  const url = database ? Redacted.value(database) : (yield* startEmbeddedPostgres(dataDir)).url
  yield* seedUsers(url, seedRows || DEFAULT_ROWS)
}).pipe(
  Effect.scoped,
  Effect.provide(AppConfig.Default),
  tellFailure("seed"),
  BunRuntime.runMain({ disableErrorReporting: true })
)
