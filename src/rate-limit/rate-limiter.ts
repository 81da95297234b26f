import { Context, type Effect } from "effect"

export interface RateDecision {
  readonly allowed: boolean
  /** Requests that the key may still make now. */
  readonly remaining: number
  /** Seconds, rounded up, until the window lets the next one in (refused), or the oldest one leaves it (allowed). */
  readonly resetSeconds: number
  /** Removes the request from the window again, if it was not let in after all. */
  readonly undo: Effect.Effect<void>
}

/** At most `limit` requests of one key in any window of `windowSeconds`; a refused one does not count. */
export class RateLimiter extends Context.Tag("RateLimiter")<
  RateLimiter,
  {
    readonly limit: number
    readonly windowSeconds: number
    /** Lets one request in, or refuses it. `most` replaces `limit`. */
    readonly take: (key: string, most?: number) => Effect.Effect<RateDecision>
    /** What `take` would say, without taking. */
    readonly peek: (key: string, most?: number) => Effect.Effect<RateDecision>
  }
>() {}
