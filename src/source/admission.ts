import { Data, Effect, Option, type Scope } from "effect"
import { limits } from "../limits.ts"

/** All source sessions were in use for `streamAdmissionMs`. */
export class SourceBusy extends Data.TaggedError("SourceBusy")<{ readonly message: string }> {
  static readonly problem = {
    type: "source-busy",
    status: 503,
    meaning: "All connections to the source database are in use; try again."
  } as const
}

/** Takes a permit, and gives it back when the scope closes. */
const permit = (semaphore: Effect.Semaphore) =>
  Effect.uninterruptibleMask((restore) =>
    restore(semaphore.take(1)).pipe(Effect.zipRight(Effect.addFinalizer(() => semaphore.release(1))))
  )

interface AdmissionLimits {
  readonly sessions: number
  /** Sessions that are reserved for jobs. */
  readonly jobs: number
  /** Further readers of all exports together. */
  readonly readers: number
}

/**
 * Makes the admission control of source sessions. Each job and stream waits for one session, that of its leader. Further
 * sessions are taken only while nobody waits, and `shouldYield` asks for them back when somebody does.
 */
export const makeAdmission = ({ sessions, jobs, readers }: AdmissionLimits) =>
  Effect.gen(function* () {
    const all = yield* Effect.makeSemaphore(sessions)
    // Streams that stall must not keep the jobs from working.
    const streams = yield* Effect.makeSemaphore(Math.max(1, sessions - jobs))
    const extraReaders = yield* Effect.makeSemaphore(readers)
    let waiting = 0

    const acquire: Effect.Effect<void, never, Scope.Scope> = Effect.acquireUseRelease(
      Effect.sync(() => waiting++),
      () => permit(all),
      () => Effect.sync(() => waiting--)
    )

    /** Runs `use` if a session is free at once and nobody waits for it. */
    const tryAcquire = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
      Effect.suspend(() => (waiting > 0 ? Effect.succeedNone : all.withPermitsIfAvailable(1)(use)))

    return {
      /** Waits for a session as long as it takes. */
      acquireForJob: acquire,
      /** Waits for a session for `streamAdmissionMs`, since a client waits for the answer. */
      acquireForStream: permit(streams).pipe(
        Effect.zipRight(acquire),
        Effect.timeoutFail({
          duration: limits.streamAdmissionMs,
          onTimeout: () => new SourceBusy({ message: `Cannot start the export: all ${sessions} source connections are in use` })
        })
      ),
      /** Runs `use` if a further reader may work now, and `after` when its session is given back. */
      tryAcquireReader: <E, R>(use: Effect.Effect<void, E, R>, after: Effect.Effect<void>): Effect.Effect<void, E, R> =>
        extraReaders
          .withPermitsIfAvailable(1)(Effect.flatMap(tryAcquire(use), (ran) => (Option.isSome(ran) ? after : Effect.void)))
          .pipe(Effect.asVoid),
      tryAcquire,
      shouldYield: () => waiting > 0
    } as const
  })

export type Admission = Effect.Effect.Success<ReturnType<typeof makeAdmission>>
