import { Data, Effect, Redacted, type Scope } from "effect"
import { AppConfig, Databases, limits } from "../config.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { CursorSource } from "./cursor-source.ts"
import { explainStatement, planRows, type Explained } from "./plan.ts"
import { connectSource, SourceError, toSourceError } from "./source-connection.ts"

/** The bytes of one export, in order, from one snapshot. */
export interface ByteRows {
  /**
   * The next chunk; undefined after the last, which comes only when the database has answered `commit`.
   * Rejects with SourceError. One call at a time. The receiver owns the chunk.
   */
  next(): Promise<Uint8Array | undefined>
  /** Gives a chunk's buffer back for reuse, when nobody reads it any more. */
  recycle(chunk: Uint8Array): void
  /** Rows encoded so far. */
  readonly rows: number
  /** Rows that the planner expects. */
  readonly estimatedRows: number
}

/** All source connections are in use, and stayed so for `streamAdmissionMs`. */
export class SourceBusy extends Data.TaggedError("SourceBusy")<{ readonly message: string }> {}

/** Takes a permit, and gives it back when the scope closes. */
const permit = (semaphore: Effect.Semaphore) =>
  Effect.uninterruptibleMask((restore) =>
    restore(semaphore.take(1)).pipe(Effect.zipRight(Effect.addFinalizer(() => semaphore.release(1))))
  )

/** Opens exports on the source database, on at most `MAX_SOURCE_CONNECTIONS` connections at once. */
export class RowSource extends Effect.Service<RowSource>()("RowSource", {
  effect: Effect.gen(function* () {
    const { batchSize, chunkSize, maxConcurrentExports, maxSourceConnections } = yield* AppConfig
    const url = Redacted.value((yield* Databases).source)
    const permits = yield* Effect.makeSemaphore(maxSourceConnections)
    // Streams that stall must not keep the jobs from working.
    const streamPermits = yield* Effect.makeSemaphore(Math.max(1, maxSourceConnections - maxConcurrentExports))

    const connect = (spec: ExportSpec) =>
      Effect.gen(function* () {
        const connection = yield* connectSource(url)
        return yield* Effect.tryPromise({
          try: async () => {
            const plan = planRows(spec, await connection.query<Explained>(explainStatement(spec)))
            return new CursorSource(connection, spec, plan, batchSize, chunkSize)
          },
          catch: toSourceError
        })
      })

    /** Waits for a connection as long as it takes. The scope owns the connection. */
    const open = (spec: ExportSpec): Effect.Effect<ByteRows, SourceError, Scope.Scope> =>
      permit(permits).pipe(Effect.zipRight(connect(spec)))

    /** Waits `streamAdmissionMs` for a connection: somebody holds the line. */
    const openNow = (spec: ExportSpec): Effect.Effect<ByteRows, SourceError | SourceBusy, Scope.Scope> =>
      permit(streamPermits).pipe(
        Effect.zipRight(permit(permits)),
        Effect.timeoutFail({
          duration: limits.streamAdmissionMs,
          onTimeout: () =>
            new SourceBusy({ message: `Cannot start the export: all ${maxSourceConnections} source connections are in use` })
        }),
        Effect.zipRight(connect(spec))
      )

    /** Succeeds when the source answers; beside the bound, so that a busy service is not an unready one. */
    const check = Effect.scoped(connectSource(url)).pipe(Effect.asVoid)

    return { open, openNow, check } as const
  })
}) {}
