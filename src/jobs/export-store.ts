import { Duration, Effect, Schedule } from "effect"
import { AppConfig } from "../config.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { limits } from "../limits.ts"
import { AppDatabase, DatabaseError } from "../postgres/app-database.ts"
import type { Attempt, StoredAttempt } from "../storage/export-storage.ts"
import type { RunStatement } from "./queue.ts"
import * as commands from "./store/commands.ts"
import type { ClaimedJob, CompletedFile, Progress } from "./store/commands.ts"
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

const span = (verb: string) => Effect.withSpan(`ExportStore.${verb}`)

/**
 * The row `sluice.exports` of each job, a verb a function; the folder `store` has their SQL. A transition that the table
 * in export-job.ts forbids changes no row.
 */
export class ExportStore extends Effect.Service<ExportStore>()("ExportStore", {
  effect: Effect.gen(function* () {
    const { sql } = yield* AppDatabase
    const { exportTtl, queueLimit } = yield* AppConfig
    const ttlSeconds = Math.ceil(Duration.toSeconds(exportTtl))
    return {
      create: Effect.fn("ExportStore.create")((spec: ExportSpec, enqueue: (id: string, run: RunStatement) => Promise<boolean>) =>
        commands.create(sql, queueLimit, spec, enqueue)
      ),
      claim: Effect.fn("ExportStore.claim")((id: string) => commands.claim(sql, id)),
      confirm: Effect.fn("ExportStore.confirm")((job: ClaimedJob) => commands.confirm(sql, job)),
      progress: Effect.fn("ExportStore.progress")((job: ClaimedJob, made: Progress) => commands.progress(sql, job, made)),
      wait: Effect.fn("ExportStore.wait")((job: ClaimedJob, since: Date) => commands.wait(sql, job, since)),
      reached: Effect.fn("ExportStore.reached")((job: ClaimedJob) => commands.reached(sql, job)),
      complete: Effect.fn("ExportStore.complete")((job: ClaimedJob, file: CompletedFile) =>
        commands.complete(sql, ttlSeconds, job, file)
      ),
      release: Effect.fn("ExportStore.release")((job: ClaimedJob, failed: boolean) => commands.release(sql, job, failed)),
      survived: Effect.fn("ExportStore.survived")((job: ClaimedJob) => commands.survived(sql, job)),
      fail: Effect.fn("ExportStore.fail")((job: ClaimedJob, message: string) => commands.fail(sql, job, message)),
      cancel: Effect.fn("ExportStore.cancel")((id: string) => commands.cancel(sql, id)),
      expire: Effect.fn("ExportStore.expire")((id: string) => commands.expire(sql, id)),
      damage: Effect.fn("ExportStore.damage")((attempt: Attempt, message: string) => commands.damage(sql, attempt, message)),
      keepSha256: Effect.fn("ExportStore.keepSha256")((id: string, sha256: string) => commands.keepSha256(sql, id, sha256)),

      check: queries.check(sql).pipe(span("check")),
      get: Effect.fn("ExportStore.get")((id: string) => queries.get(sql, id)),
      getFile: Effect.fn("ExportStore.getFile")((id: string) => queries.getFile(sql, id)),
      list: Effect.fn("ExportStore.list")((limit: number, before: number = Number.MAX_SAFE_INTEGER) =>
        queries.list(sql, limit, before)
      ),
      staleAttempts: Effect.fn("ExportStore.staleAttempts")((stored: ReadonlyArray<StoredAttempt>) =>
        queries.staleAttempts(sql, stored)
      ),

      expireDue: retention.expireDue(sql).pipe(span("expireDue")),
      failAbandoned: retention.failAbandoned(sql).pipe(span("failAbandoned")),
      endedExports: retention.endedExports(sql).pipe(span("endedExports")),
      markFilesRemoved: Effect.fn("ExportStore.markFilesRemoved")((ids: ReadonlyArray<string>) =>
        retention.markFilesRemoved(sql, ids)
      ),
      deleteOldExports: retention.deleteOldExports(sql).pipe(span("deleteOldExports")),

      exportStatistics: Effect.fn("ExportStore.exportStatistics")((spec: ExportSpec) => statistics.exportStatistics(sql, spec))
    } as const
  })
}) {}
