import { Clock, Duration, Effect, Layer } from "effect"
import { bounds } from "../bounds.ts"
import { AppConfig } from "../config.ts"
import { RateLimiter, type RateDecision } from "./rate-limiter.ts"

/** Milliseconds of the monotonic clock: a wall clock that is set back would lock out every key that it had let in. */
const monotonicMs = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/**
 * A sliding window log in this process: the times of the requests let in, per key. It is exact, and bounded over
 * all keys: past `rateLimitEntries` the key that was let in longest ago is forgotten first.
 */
export const memoryRateLimiter = Layer.effect(
  RateLimiter,
  Effect.gen(function* () {
    const { rateLimitMax: limit, rateLimitWindow } = yield* AppConfig
    const windowMs = Duration.toMillis(rateLimitWindow)
    /** In the order of their last request let in: a Map keeps the order of insertion. */
    const log = new Map<string, Array<number>>()
    let entries = 0

    /** The key's requests that are still in the window. */
    const current = (key: string, now: number): Array<number> => {
      const times = log.get(key) ?? []
      const gone = times.findIndex((time) => time > now - windowMs)
      const left = times.splice(0, gone === -1 ? times.length : gone)
      entries -= left.length
      if (times.length === 0) log.delete(key)
      return times
    }
    const decide = (times: ReadonlyArray<number>, allowed: boolean, most: number, now: number): RateDecision => ({
      allowed,
      remaining: most - times.length,
      resetSeconds: Math.max(1, Math.ceil(((times[0] ?? now) + windowMs - now) / 1000)),
      undo: Effect.void
    })
    /** Removes one request of the key that was let in at `time`, unless it has left the window. */
    const undo = (key: string, time: number) => {
      const times = log.get(key) ?? []
      const index = times.indexOf(time)
      if (index === -1) return
      times.splice(index, 1)
      entries--
      if (times.length === 0) log.delete(key)
    }

    return {
      limit,
      windowSeconds: Duration.toSeconds(rateLimitWindow),
      peek: (key, most = limit) =>
        Effect.map(monotonicMs, (now) => {
          const times = current(key, now)
          return decide(times, times.length < most, most, now)
        }),
      take: (key, most = limit) =>
        Effect.map(monotonicMs, (now) => {
          const times = current(key, now)
          if (times.length >= most) return decide(times, false, most, now)
          times.push(now)
          entries++
          log.delete(key)
          log.set(key, times)
          for (const [oldest, forgotten] of log) {
            if (entries <= bounds.rateLimitEntries || oldest === key) break
            log.delete(oldest)
            entries -= forgotten.length
          }
          return { ...decide(times, true, most, now), undo: Effect.sync(() => undo(key, now)) }
        })
    }
  })
)
