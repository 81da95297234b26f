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

/** Returns what ExportBytes and FileWriter reject with. Anything else is a bug, and thrown as a defect. */
const toFailure = (cause: unknown): SourceError | StorageError | StorageFull => {
  if (cause instanceof SourceError || cause instanceof StorageError || cause instanceof StorageFull) return cause
  throw cause
}

/** Writes the bytes of an export to its file. */
const writeFile = (bytes: ExportBytes, file: FileWriter) =>
  Effect.tryPromise({
    try: async (signal) => {
      for (let chunk; (chunk = await bytes.next());) {
        signal.throwIfAborted()
        await file.write(chunk)
        bytes.recycle(chunk)
      }
      signal.throwIfAborted()
      return { ...(await file.finish()), rows: bytes.rows }
    },
    catch: toFailure
  })

/** Runs the work on a job until `check` finds the lease lost. A database that is away for a moment is no reason to stop. */
const whileLeased = <A, E, R>(work: Effect.Effect<A, E, R>, check: Effect.Effect<unknown, LeaseLost | DatabaseError>) =>
  Effect.raceFirst(
    work,
    check.pipe(
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

/** Runs one claimed job: reads its rows, writes its file, and completes it. */
export class Exporter extends Effect.Service<Exporter>()("Exporter", {
  effect: Effect.gen(function* () {
    const reader = yield* ExportReader
    const storage = yield* ExportStorage
    const store = yield* ExportStore
    const wait = yield* SourceWait

    const reportProgress = (job: ClaimedJob, bytes: ExportBytes) => {
      let processedRows = 0
      return Effect.suspend(() => {
        // Rows that were read ahead may have to be read again, and progress must not fall for that.
        processedRows = Math.max(processedRows, bytes.rows)
        return store.progress(job, { processedRows, totalRows: bytes.estimatedRows })
      })
    }

    const writeExport = (job: ClaimedJob, reached: Effect.Effect<void, LeaseLost>) =>
      Effect.scoped(
        Effect.gen(function* () {
          const spec = yield* specOf(job)
          // Opened first, so that on the way out the source is ended before the file's last write is waited for.
          const file = yield* storage.create(job)
          const { bytes, truncatedBy } = yield* whileLeased(
            reader.openForJob(spec),
            Effect.delay(store.confirm(job), limits.progressGapMs)
          )
          yield* reached
          const written = yield* whileLeased(writeFile(bytes, file), reportProgress(job, bytes))
          return { ...written, truncatedBy }
        })
      )

    const run = Effect.fn("Exporter.run")(function* (job: ClaimedJob) {
      // A worker that died leaves its file behind.
      if (job.epoch > 1) yield* discard(storage, { id: job.id, epoch: job.epoch - 1 })
      const file = yield* wait.through(job, (reached) =>
        writeExport(job, reached).pipe(Effect.onError(() => discard(storage, job)))
      )
      // A call that failed may have changed the row. The file then stays, and the sweeper decides.
      yield* persist(store.complete(job, file)).pipe(Effect.tapErrorTag("LeaseLost", () => discard(storage, job)))
      return file
    })

    return { run } as const
  })
}) {}
