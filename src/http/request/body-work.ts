import { Effect, type Scope } from "effect"
import { Unavailable } from "../failures.ts"

export interface BodyWorkLimits {
  /** Bytes of the bodies that are worked on at once. */
  readonly bodyWorkBytes: number
  /** Bytes of the bodies that wait for room, and how long one may wait. */
  readonly bodyWaitBytes: number
  readonly bodyWaitMs: number
}

const busy = () => new Unavailable({ detail: "Too many large requests are under way; try again" })

/**
 * Bounds the work on complete request bodies. A body becomes many times its size while it is parsed, checked and stored, so
 * a burst of large ones would take all memory. Small ones hardly count.
 */
export const makeBodyWork = ({ bodyWorkBytes, bodyWaitBytes, bodyWaitMs }: BodyWorkLimits) => {
  const room = Effect.unsafeMakeSemaphore(bodyWorkBytes)
  let waiting = 0

  /** Waits for room for a body of so many bytes, which is given back when the scope closes. Fails with 503. */
  return (bytes: number): Effect.Effect<void, Unavailable, Scope.Scope> =>
    Effect.suspend(() => {
      if (waiting + bytes > bodyWaitBytes) return busy()
      waiting += bytes
      const turn = room
        .take(bytes)
        .pipe(
          Effect.timeoutFail({ duration: bodyWaitMs, onTimeout: busy }),
          Effect.ensuring(Effect.sync(() => (waiting -= bytes)))
        )
      return Effect.uninterruptibleMask((restore) =>
        restore(turn).pipe(Effect.zipRight(Effect.addFinalizer(() => room.release(bytes))))
      )
    })
}
