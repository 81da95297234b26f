import { Context, type Effect } from "effect"

export interface RateDecision {
  readonly allowed: boolean
  /** Requests that the key may still make now. */
  readonly remaining: number
  /** Seconds, rounded up: after a refusal, until the next request is allowed; otherwise, until the oldest one leaves the window. */
  readonly resetSeconds: number
  /** Removes the request from the window again, for a request that must not count after all. */
  readonly undo: Effect.Effect<void>
}

/** Allows at most `limit` requests of one key in any window of `windowSeconds`. A refused request does not count. */
export class RateLimiter extends Context.Tag("RateLimiter")<
  RateLimiter,
  {
    readonly limit: number
    readonly windowSeconds: number
    /** Allows and counts a request, or refuses it. `most` replaces `limit`. */
    readonly take: (key: string, most?: number) => Effect.Effect<RateDecision>
    /** Returns what `take` would return, without counting a request. */
    readonly peek: (key: string, most?: number) => Effect.Effect<RateDecision>
  }
>() {}
