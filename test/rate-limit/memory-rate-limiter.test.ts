import { describe, expect, test } from "bun:test"
import { Clock, Effect, Layer, TestClock } from "effect"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { memoryRateLimiter } from "../../src/rate-limit/memory-rate-limiter.ts"
import { RateLimiter } from "../../src/rate-limit/rate-limiter.ts"
import { settings, withTestClock } from "../support/effect.ts"

type Limiter = RateLimiter["Type"]

/** Runs `use` with a limiter of its own: `max` requests in `windowSeconds`. */
const withLimiter = <A>(max: number, windowSeconds: number, use: (limiter: Limiter) => Effect.Effect<A>): Promise<A> =>
  withTestClock(
    Effect.flatMap(RateLimiter, use).pipe(
      Effect.provide(
        memoryRateLimiter.pipe(
          Layer.provide(settings({ RATE_LIMIT_MAX: String(max), RATE_LIMIT_WINDOW: `${windowSeconds} seconds` }))
        )
      ),
      Effect.orDie
    )
  )

/** The definition without any economy: it keeps the times of all allowed requests of a key for ever. */
class NaiveWindow {
  readonly times: Array<number> = []
  constructor(
    readonly max: number,
    readonly windowMs: number
  ) {}
  inWindow = (now: number) => this.times.filter((time) => time > now - this.windowMs)
  allows = (now: number) => this.inWindow(now).length < this.max
  take(now: number): boolean {
    const allowed = this.allows(now)
    if (allowed) this.times.push(now)
    return allowed
  }
}

/** Steps of time that fall on, beside and between the edges of windows. */
const wait = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2_500 }), fc.constantFrom(999, 1_000, 1_001, 2_000, 4_000, 5_000))
const step = fc.record({
  waitMs: wait,
  requests: fc.array(fc.record({ key: fc.constantFrom("a", "b"), verb: fc.constantFrom("take", "take", "peek") } as const), {
    maxLength: 6
  })
})
const history = fc.record({
  max: fc.integer({ min: 1, max: 4 }),
  seconds: fc.integer({ min: 1, max: 5 }),
  steps: fc.array(step, { maxLength: 25 })
})

test("after any history the limiter allows, refuses and counts as the definition of a sliding window does", async () => {
  await fc.assert(
    fc.asyncProperty(history, ({ max, seconds, steps }) =>
      withLimiter(max, seconds, (limiter) =>
        Effect.gen(function* () {
          const windows = { a: new NaiveWindow(max, seconds * 1000), b: new NaiveWindow(max, seconds * 1000) }
          let now = 0
          for (const { waitMs, requests } of steps) {
            yield* TestClock.adjust(waitMs)
            now += waitMs
            for (const { key, verb } of requests) {
              const window = windows[key]
              const decision = yield* limiter[verb](key)
              const expected = verb === "take" ? window.take(now) : window.allows(now)
              expect(decision.allowed).toBe(expected)
              expect(decision.remaining).toBe(max - window.inWindow(now).length)
              // Whole seconds until a slot becomes free: enough, and not one too many.
              const [oldest = now] = window.inWindow(now)
              expect(decision.resetSeconds).toBe(Math.max(1, Math.ceil((oldest + seconds * 1000 - now) / 1000)))
              expect(expected || window.allows(now + decision.resetSeconds * 1000)).toBe(true)
            }
          }
          for (const { times } of Object.values(windows)) {
            // Any max + 1 successive requests that were allowed took longer than a window.
            times.slice(max).forEach((time, index) => expect(time - times[index]!).toBeGreaterThanOrEqual(seconds * 1000))
          }
        })
      )
    ),
    { numRuns: 60 }
  )
}, 30_000)

describe("a key", () => {
  test("may make `max` requests, and then another each time that one leaves the window", () =>
    withLimiter(2, 10, (limiter) =>
      Effect.gen(function* () {
        expect(yield* limiter.take("k")).toMatchObject({ allowed: true, remaining: 1, resetSeconds: 10 })
        yield* TestClock.adjust("4 seconds")
        expect(yield* limiter.take("k")).toMatchObject({ allowed: true, remaining: 0, resetSeconds: 6 })
        expect(yield* limiter.take("k")).toMatchObject({ allowed: false, remaining: 0, resetSeconds: 6 })
        yield* TestClock.adjust(5_999)
        expect(yield* limiter.take("k")).toMatchObject({ allowed: false, remaining: 0, resetSeconds: 1 })
        yield* TestClock.adjust(1)
        expect(yield* limiter.take("k")).toMatchObject({ allowed: true, remaining: 0, resetSeconds: 4 })
        expect(yield* limiter.take("k")).toMatchObject({ allowed: false, remaining: 0, resetSeconds: 4 })
        yield* TestClock.adjust("10 seconds")
        expect(yield* limiter.peek("k")).toMatchObject({ allowed: true, remaining: 2 })
      })
    ))
  test("is not refused for longer because of its refused requests", () =>
    withLimiter(1, 10, (limiter) =>
      Effect.gen(function* () {
        yield* limiter.take("k")
        for (let second = 1; second < 10; second++) {
          yield* TestClock.adjust("1 second")
          expect(yield* limiter.take("k")).toMatchObject({ allowed: false, remaining: 0, resetSeconds: 10 - second })
        }
        yield* TestClock.adjust("1 second")
        expect((yield* limiter.take("k")).allowed).toBe(true)
      })
    ))
  test("has no request counted by `peek`", () =>
    withLimiter(1, 10, (limiter) =>
      Effect.gen(function* () {
        for (let look = 0; look < 5; look++) expect(yield* limiter.peek("k")).toMatchObject({ allowed: true, remaining: 1 })
        expect((yield* limiter.take("k")).allowed).toBe(true)
        expect(yield* limiter.peek("k")).toMatchObject({ allowed: false, remaining: 0, resetSeconds: 10 })
      })
    ))
})

test("each key is counted apart, whatever its characters", () =>
  withLimiter(1, 10, (limiter) =>
    Effect.gen(function* () {
      for (const key of ["", " ", "a", "A", "__proto__", "constructor", "key a", "\u0000"]) {
        expect((yield* limiter.take(key)).allowed).toBe(true)
        expect((yield* limiter.take(key)).allowed).toBe(false)
      }
    })
  ))

test("exactly as many simultaneous requests as the limit are allowed", () =>
  withLimiter(60, 60, (limiter) =>
    Effect.gen(function* () {
      const decisions = yield* Effect.all(
        Array.from({ length: 500 }, () => limiter.take("k")),
        { concurrency: "unbounded" }
      )
      expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(60)
    })
  ))

test("the limiter shows the limit and the window that are set", () =>
  withLimiter(7, 90, ({ limit, windowSeconds }) => Effect.sync(() => expect([limit, windowSeconds]).toEqual([7, 90]))))

const entries = limits.rateLimitEntries
const fill = (limiter: Limiter, from: number, to: number) =>
  Effect.forEach(
    Array.from({ length: to - from }, (_, index) => `key ${from + index}`),
    (key) => limiter.take(key),
    { discard: true }
  )
const known = (limiter: Limiter, key: number) => Effect.map(limiter.peek(`key ${key}`), ({ allowed }) => !allowed)

describe("the memory of the limiter is limited", () => {
  test("beyond `rateLimitEntries` the keys whose last allowed requests are the oldest are forgotten, and no others", () =>
    withLimiter(1, 60, (limiter) =>
      Effect.gen(function* () {
        const more = 5_000
        yield* fill(limiter, 0, entries)
        expect(yield* known(limiter, 0)).toBe(true)
        yield* fill(limiter, entries, entries + more)
        const remembered = yield* Effect.forEach(
          Array.from({ length: entries + more }, (_, key) => key),
          (key) => known(limiter, key)
        )
        expect(remembered.indexOf(true)).toBe(more)
        expect(remembered.lastIndexOf(false)).toBe(more - 1)
      })
    ))
  test("a key with a new allowed request is not the oldest any more", () =>
    withLimiter(2, 60, (limiter) =>
      Effect.gen(function* () {
        yield* fill(limiter, 0, entries - 1)
        // Its second request makes it the youngest, and fills the last entry.
        yield* limiter.take("key 0")
        yield* limiter.take("newcomer")
        expect(yield* known(limiter, 0)).toBe(true)
        expect((yield* limiter.peek("key 1")).remaining).toBe(2)
        expect((yield* limiter.peek("key 2")).remaining).toBe(1)
      })
    ))
  test("requests that have left their window take no memory", () =>
    withLimiter(1, 1, (limiter) =>
      Effect.gen(function* () {
        yield* fill(limiter, 0, entries)
        yield* TestClock.adjust("1 second")
        yield* Effect.forEach(
          Array.from({ length: entries }, (_, key) => `key ${key}`),
          (key) => limiter.peek(key),
          { discard: true }
        )
        yield* limiter.take("early")
        yield* fill(limiter, 0, entries - 1)
        expect(yield* limiter.peek("early")).toMatchObject({ allowed: false })
      })
    ))
})

test("setting the wall clock back or forward changes no window", () =>
  withLimiter(1, 60, (limiter) =>
    Effect.gen(function* () {
      let wallMs = Date.parse("2030-01-01")
      let seconds = 1_000n
      const clock: Clock.Clock = {
        ...(yield* Effect.clock),
        unsafeCurrentTimeMillis: () => wallMs,
        currentTimeMillis: Effect.sync(() => wallMs),
        unsafeCurrentTimeNanos: () => seconds * 1_000_000_000n,
        currentTimeNanos: Effect.sync(() => seconds * 1_000_000_000n)
      }
      const take = Effect.withClock(limiter.take("key"), clock)
      expect(yield* take).toMatchObject({ allowed: true })
      wallMs = Date.parse("2040-01-01")
      expect(yield* take).toMatchObject({ allowed: false, resetSeconds: 60 })
      wallMs = Date.parse("2020-01-01")
      seconds += 60n
      expect(yield* take).toMatchObject({ allowed: true })
    })
  ))
