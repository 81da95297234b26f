import { Effect } from "effect"
import { limits } from "../limits.ts"
import { fromStoredSpec, type ExportSpec, type UnreadableSpec } from "../exports/export-spec.ts"
import type { DatabaseError } from "../postgres/app-database.ts"
import type { ExportBytes } from "../read/export-bytes.ts"
import { ExportReader } from "../read/export-reader.ts"
import { SourceError } from "../source/source-error.ts"
import { discard, ExportStorage, StorageError, StorageFull, type FileWriter } from "../storage/export-storage.ts"
import { ExportStore, persist } from "./export-store.ts"
import type { ClaimedJob, LeaseLost } from "./store/commands.ts"
import { SourceWait } from "./source-wait.ts"

/** What ExportBytes and FileWriter reject with; anything else is a mistake of ours, which a throw makes a defect. */
const toFailure = (cause: unknown): SourceError | StorageError | StorageFull => {
  if (cause instanceof SourceError || cause instanceof StorageError || cause instanceof StorageFull) return cause
  throw cause
}

/** Moves the rows into the file. */
const copy = (rows: ExportBytes, file: FileWriter) =>
  Effect.tryPromise({
    try: async (signal) => {
      for (let chunk; (chunk = await rows.next());) {
        signal.throwIfAborted()
        await file.write(chunk)
        rows.recycle(chunk)
      }
      signal.throwIfAborted()
      return { ...(await file.finish()), rows: rows.rows }
    },
    catch: toFailure
  })

/** Work on a job, until `look` finds that it is no longer ours. A database that is away for a moment is no reason to stop. */
const whileOurs = <A, E, R>(work: Effect.Effect<A, E, R>, look: Effect.Effect<unknown, LeaseLost | DatabaseError>) =>
  Effect.raceFirst(
    work,
    look.pipe(
      Effect.catchTag("DatabaseError", (error) =>
        error.unavailable ? Effect.logDebug(error.logged) : Effect.logWarning(error.logged)
      ),
      Effect.zipRight(Effect.sleep(limits.progressGapMs)),
      Effect.forever
    )
  )

const specOf = ({ spec }: ClaimedJob): Effect.Effect<ExportSpec, SourceError | UnreadableSpec> =>
  Effect.mapError(fromStoredSpec(spec), (cause) =>
    cause.isLater ? cause : new SourceError({ message: cause.message, retryable: false, cause })
  )

/** Writes the file of one claimed job: rows → storage → `completed`. */
export class Exporter extends Effect.Service<Exporter>()("Exporter", {
  effect: Effect.gen(function* () {
    const reader = yield* ExportReader
    const storage = yield* ExportStorage
    const store = yield* ExportStore
    const wait = yield* SourceWait

    const progress = (job: ClaimedJob, rows: ExportBytes) => {
      let processedRows = 0
      return Effect.suspend(() => {
        // What was read ahead may have to be read again; progress does not fall for that.
        processedRows = Math.max(processedRows, rows.rows)
        return store.progress(job, { processedRows, totalRows: rows.estimatedRows })
      })
    }

    const write = (job: ClaimedJob, reached: Effect.Effect<void, LeaseLost>) =>
      Effect.scoped(
        Effect.gen(function* () {
          const spec = yield* specOf(job)
          // Opened first, so that on the way out the source is ended before the file's last write is waited for.
          const file = yield* storage.create(job)
          const { bytes, truncatedBy } = yield* whileOurs(
            reader.openForJob(spec),
            Effect.delay(store.confirm(job), limits.progressGapMs)
          )
          yield* reached
          const written = yield* whileOurs(copy(bytes, file), progress(job, bytes))
          return { ...written, truncatedBy }
        })
      )

    const run = Effect.fn("Exporter.run")(function* (job: ClaimedJob) {
      // A worker that died leaves its file behind.
      if (job.epoch > 1) yield* discard(storage, { id: job.id, epoch: job.epoch - 1 })
      const file = yield* wait.through(job, (reached) => write(job, reached).pipe(Effect.onError(() => discard(storage, job))))
      // Whether a call that failed has changed the row is unknown: then the files stay, for the sweeper to decide.
      yield* persist(store.complete(job, file)).pipe(Effect.tapErrorTag("LeaseLost", () => discard(storage, job)))
      return file
    })

    return { run } as const
  })
}) {}
