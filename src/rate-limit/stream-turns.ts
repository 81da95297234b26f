import { Data, Deferred, Effect, FiberId, type Scope } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"

/** How many streams may be under way at once, and what they share: a key or an address. */
interface Limit {
  readonly of: "key" | "address"
  readonly most: number
}

/** The turn of a stream did not come in time, or too many streams wait before it. */
export class TooManyStreams extends Data.TaggedError("TooManyStreams")<Limit> {
  static readonly problem = {
    type: "too-many-streams",
    status: 429,
    meaning: "This key or address has as many streams as it may have at once (STREAMS_PER_KEY), and none of them ended in time."
  } as const
}

type Turn = Deferred.Deferred<void>

/** The streams of one name. Its sets keep the order of arrival. */
interface Line {
  readonly running: Set<Turn>
  readonly waiting: Set<Turn>
}

/**
 * Keeps lines of streams by name, in each of which `most` streams run at once. Turns come in the order of arrival, so that
 * a newcomer cannot pass those that wait. A name without streams takes no memory.
 */
export class StreamLines {
  readonly #lines = new Map<string, Line>()

  /**
   * Joins the line of `name`. Returns undefined if too many wait in it; otherwise the turn, which is done when the stream
   * may run.
   */
  join(name: string, most: number): Turn | undefined {
    const line = this.#lines.get(name) ?? { running: new Set(), waiting: new Set() }
    if (line.waiting.size >= limits.streamQueue) return undefined
    const turn = Deferred.unsafeMake<void>(FiberId.none)
    this.#lines.set(name, line)
    line.waiting.add(turn)
    callNext(line, most)
    return turn
  }

  /** Leaves the line, whether or not the turn has come, and gives the place to the next stream. */
  leave(name: string, most: number, turn: Turn): void {
    const line = this.#lines.get(name)
    if (!line) return
    line.waiting.delete(turn)
    line.running.delete(turn)
    callNext(line, most)
    if (line.running.size === 0) this.#lines.delete(name)
  }

  get names(): number {
    return this.#lines.size
  }
}

const callNext = ({ running, waiting }: Line, most: number) => {
  const [next] = waiting
  if (next === undefined || running.size >= most) return
  waiting.delete(next)
  running.add(next)
  Deferred.unsafeDone(next, Effect.void)
}

/**
 * Limits how many streams run at once: `STREAMS_PER_KEY` of one key, or of one address for requests without a key. Anyone
 * can make up keys, so all streams of one address together have a limit, too.
 */
export class StreamTurns extends Effect.Service<StreamTurns>()("StreamTurns", {
  effect: Effect.gen(function* () {
    const { streamsPerKey } = yield* AppConfig
    const lines = new StreamLines()

    const wait = (name: string, limit: Limit) =>
      Effect.acquireRelease(
        Effect.sync(() => lines.join(name, limit.most)),
        (turn) => Effect.sync(() => turn && lines.leave(name, limit.most, turn))
      ).pipe(Effect.flatMap((turn) => (turn ? Deferred.await(turn) : Effect.fail(new TooManyStreams(limit)))))

    const ofKey: Limit = { of: "key", most: streamsPerKey }
    const ofAddress: Limit = { of: "address", most: streamsPerKey }
    const ofAll: Limit = { of: "address", most: streamsPerKey + limits.addressStreams }

    /**
     * Waits up to `streamTurnMs` for the turn of a stream, which lasts until the scope closes. `key` is undefined where the
     * request gives none.
     */
    const take = (key: string | undefined, address: string): Effect.Effect<void, TooManyStreams, Scope.Scope> =>
      Effect.suspend(() => {
        let waitsFor = key === undefined ? ofAddress : ofKey
        return wait(key === undefined ? `no key ${address}` : `key ${key}`, waitsFor).pipe(
          Effect.tap(() => void (waitsFor = ofAll)),
          Effect.zipRight(Effect.suspend(() => wait(`address ${address}`, ofAll))),
          Effect.timeoutFail({ duration: limits.streamTurnMs, onTimeout: () => new TooManyStreams(waitsFor) })
        )
      })

    return { take } as const
  })
}) {}
