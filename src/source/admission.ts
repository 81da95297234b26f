import { Data, Effect, Option, type Scope } from "effect"
import { limits } from "../limits.ts"

/** All source connections are in use, and stayed so for `streamAdmissionMs`. */
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

interface Bounds {
  readonly connections: number
  /** Of them, how many streams leave to jobs. */
  readonly jobs: number
  readonly helpers: number
}

/**
 * Who may open a source connection. Each job and stream has a right to one, its lead, and waits for it. Further ones,
 * helpers, are taken only while nobody waits, and `wanted` asks them to go when somebody does.
 */
export const makeAdmission = ({ connections, jobs, helpers }: Bounds) =>
  Effect.gen(function* () {
    const all = yield* Effect.makeSemaphore(connections)
    // Streams that stall must not keep the jobs from working.
    const streams = yield* Effect.makeSemaphore(Math.max(1, connections - jobs))
    const helping = yield* Effect.makeSemaphore(helpers)
    let waiting = 0

    const lead: Effect.Effect<void, never, Scope.Scope> = Effect.acquireUseRelease(
      Effect.sync(() => waiting++),
      () => permit(all),
      () => Effect.sync(() => waiting--)
    )

    const spare = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
      Effect.suspend(() => (waiting > 0 ? Effect.succeedNone : all.withPermitsIfAvailable(1)(use)))

    return {
      /** Waits as long as it takes. */
      lead,
      /** Waits `streamAdmissionMs`: somebody holds the line. */
      acquireForStream: permit(streams).pipe(
        Effect.zipRight(lead),
        Effect.timeoutFail({
          duration: limits.streamAdmissionMs,
          onTimeout: () =>
            new SourceBusy({ message: `Cannot start the export: all ${connections} source connections are in use` })
        })
      ),
      /** Runs `use` if a helper is to be had now, and `after` when its connection is given back. */
      helper: <E, R>(use: Effect.Effect<void, E, R>, after: Effect.Effect<void>): Effect.Effect<void, E, R> =>
        helping
          .withPermitsIfAvailable(1)(Effect.flatMap(spare(use), (ran) => (Option.isSome(ran) ? after : Effect.void)))
          .pipe(Effect.asVoid),
      /** Runs `use` if a connection is free now and nobody waits for it. */
      spare,
      wanted: () => waiting > 0
    } as const
  })

export type Connections = Effect.Effect.Success<ReturnType<typeof makeAdmission>>
