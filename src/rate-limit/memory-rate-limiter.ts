import { Clock, Duration, Effect, Layer } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { RateLimiter, type RateDecision } from "./rate-limiter.ts"

/** Milliseconds of the monotonic clock. After a wall clock is set back, no key that made requests before could make another. */
const monotonicMs = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** The times of a key's requests. Most keys make a single request, whose time needs no array. */
type Times = number | ReadonlyArray<number>
const listOf = (times: Times = []): ReadonlyArray<number> => (typeof times === "number" ? [times] : times)

const SALT = crypto.getRandomValues(new Uint8Array(16))
/**
 * Returns 48 bits that stand for a key. Clients choose their keys, as many and as long as they like, and a number takes
 * no memory of its own in a Map. Because of the salt, nobody can search for a key that shares the window of another.
 */
const digest = (key: string): number => new Bun.CryptoHasher("sha256").update(SALT).update(key).digest().readUIntBE(0, 6)

/**
 * Keeps a sliding window log in this process: for each key, the times of the requests that were allowed. It is exact. Its
 * size is limited over all keys together: beyond `rateLimitEntries`, the key whose last allowed request is the oldest is
 * forgotten first.
 */
export const memoryRateLimiter = Layer.effect(
  RateLimiter,
  Effect.gen(function* () {
    const { rateLimitMax: limit, rateLimitWindow } = yield* AppConfig
    const windowMs = Duration.toMillis(rateLimitWindow)
    /** The keys in the order of their last allowed requests, since a Map keeps the order of insertion. */
    const log = new Map<number, Times>()
    let entries = 0

    /** Returns the key's requests that are still in the window. */
    const current = (key: number, now: number): ReadonlyArray<number> => {
      const times = listOf(log.get(key))
      if (times.length === 0 || times[0]! > now - windowMs) return times
      const first = times.findIndex((time) => time > now - windowMs)
      const left = first === -1 ? [] : times.slice(first)
      replace(key, times, left)
      return left
    }
    /** Sets the requests of a key without a change of its place in the order. */
    const replace = (key: number, times: ReadonlyArray<number>, by: ReadonlyArray<number>) => {
      entries += by.length - times.length
      if (by.length === 0) log.delete(key)
      else log.set(key, by.length === 1 ? by[0]! : by)
    }
    const decide = (times: ReadonlyArray<number>, allowed: boolean, most: number, now: number): RateDecision => ({
      allowed,
      remaining: most - times.length,
      resetSeconds: Math.max(1, Math.ceil(((times[0] ?? now) + windowMs - now) / 1000)),
      undo: Effect.void
    })
    /** Removes the request of the key that was allowed at `time`, unless it has left the window. */
    const undo = (key: number, time: number) => {
      const times = listOf(log.get(key))
      const index = times.indexOf(time)
      if (index !== -1) replace(key, times, times.toSpliced(index, 1))
    }

    return {
      limit,
      windowSeconds: Duration.toSeconds(rateLimitWindow),
      peek: (name, most = limit) =>
        Effect.map(monotonicMs, (now) => {
          const times = current(digest(name), now)
          return decide(times, times.length < most, most, now)
        }),
      take: (name, most = limit) =>
        Effect.map(monotonicMs, (now) => {
          const key = digest(name)
          const before = current(key, now)
          if (before.length >= most) return decide(before, false, most, now)
          const times = [...before, now]
          // The key becomes the last in the order of insertion.
          log.delete(key)
          replace(key, before, times)
          for (const [oldest, forgotten] of log) {
            if (entries <= limits.rateLimitEntries || oldest === key) break
            replace(oldest, listOf(forgotten), [])
          }
          return { ...decide(times, true, most, now), undo: Effect.sync(() => undo(key, now)) }
        })
    }
  })
)
