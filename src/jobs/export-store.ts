import { Duration, Effect, Schedule } from "effect"
import { AppConfig } from "../config.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { limits } from "../limits.ts"
import { AppDatabase, DatabaseError } from "../postgres/app-database.ts"
import type { RunStatement } from "./queue.ts"
import * as commands from "./store/commands.ts"
import type { ClaimedJob, CompletedFile } from "./store/commands.ts"
import * as queries from "./store/queries.ts"
import * as retention from "./store/retention.ts"
import * as statistics from "./store/statistics.ts"

/** Repeats a write that ends a job while the database is away, since hours of work may hang on it. */
export const persist = <A, E>(write: Effect.Effect<A, E | DatabaseError>) =>
  write.pipe(
    Effect.retry({
      while: (error) => error instanceof DatabaseError && error.unavailable,
      schedule: Schedule.exponential(200).pipe(
        Schedule.either(Schedule.spaced(limits.persistGapMs)),
        Schedule.upTo(limits.persistMs)
      )
    })
  )

/**
 * The row `sluice.exports` of each job, a verb a function; the folder `store` has their SQL. A transition that the table
 * in export-job.ts forbids changes no row.
 */
export class ExportStore extends Effect.Service<ExportStore>()("ExportStore", {
  effect: Effect.gen(function* () {
    const { sql } = yield* AppDatabase
    const { exportTtl, queueLimit } = yield* AppConfig
    const ttlSeconds = Math.ceil(Duration.toSeconds(exportTtl))
    /** Names a verb, and gives it the database. */
    const verb = <A extends ReadonlyArray<unknown>, B, E>(
      name: string,
      run: (database: typeof sql, ...values: A) => Effect.Effect<B, E>
    ): ((...values: A) => Effect.Effect<B, E>) => Effect.fn(`ExportStore.${name}`)((...values: A) => run(sql, ...values))
    /** Does the same with a verb that takes no values. */
    const plain = <B, E>(name: string, run: (database: typeof sql) => Effect.Effect<B, E>) =>
      Effect.withSpan(run(sql), `ExportStore.${name}`)
    return {
      create: verb("create", (to, spec: ExportSpec, enqueue: (id: string, run: RunStatement) => Promise<boolean>) =>
        commands.create(to, queueLimit, spec, enqueue)
      ),
      claim: verb("claim", commands.claim),
      confirm: verb("confirm", commands.confirm),
      progress: verb("progress", commands.progress),
      wait: verb("wait", commands.wait),
      reached: verb("reached", commands.reached),
      complete: verb("complete", (to, job: ClaimedJob, file: CompletedFile) => commands.complete(to, ttlSeconds, job, file)),
      release: verb("release", commands.release),
      survived: verb("survived", commands.survived),
      fail: verb("fail", commands.fail),
      cancel: verb("cancel", commands.cancel),
      expire: verb("expire", commands.expire),
      damage: verb("damage", commands.damage),
      keepSha256: verb("keepSha256", commands.keepSha256),

      check: plain("check", queries.check),
      get: verb("get", queries.get),
      getFile: verb("getFile", queries.getFile),
      list: verb("list", (of, limit: number, before: number = Number.MAX_SAFE_INTEGER) => queries.list(of, limit, before)),
      staleAttempts: verb("staleAttempts", queries.staleAttempts),

      expireDue: plain("expireDue", retention.expireDue),
      failAbandoned: plain("failAbandoned", retention.failAbandoned),
      endedExports: plain("endedExports", retention.endedExports),
      markFilesRemoved: verb("markFilesRemoved", retention.markFilesRemoved),
      deleteOldExports: plain("deleteOldExports", retention.deleteOldExports),

      exportStatistics: verb("exportStatistics", statistics.exportStatistics)
    } as const
  })
}) {}
