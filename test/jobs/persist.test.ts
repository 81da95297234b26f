/** The write that ends a job is tried again while Sluice's own database is away, for a bounded time. */
import { expect, test } from "bun:test"
import { Effect, Either, Fiber, TestClock } from "effect"
import { limits } from "../../src/limits.ts"
import { persist } from "../../src/jobs/export-store.ts"
import { LeaseLost } from "../../src/jobs/store/commands.ts"
import { DatabaseError } from "../../src/postgres/app-database.ts"
import { withTestClock } from "../support/effect.ts"

const away = new DatabaseError({ message: "away", logged: "away", unavailable: true, cause: undefined })
const defect = new DatabaseError({ message: "defect", logged: "defect", unavailable: false, cause: undefined })
const lost = new LeaseLost({ id: "a", epoch: 1 })

/** A write that fails for some calls, and then succeeds. */
const failing = (error: DatabaseError | LeaseLost, failures: number) => {
  const state = { calls: 0 }
  const write = Effect.suspend(() => (++state.calls <= failures ? Effect.fail(error) : Effect.succeed("written")))
  return { state, write }
}

/** Persists for `ms` of the test's clock, and returns the result if there is one by then. */
const persistedWithin = (ms: number, write: Effect.Effect<string, DatabaseError | LeaseLost>) =>
  withTestClock(
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.either(persist(write)))
      yield* TestClock.adjust(ms)
      return yield* Fiber.poll(fiber)
    })
  )

test("it succeeds as soon as the database is back, at most one gap later", async () => {
  const { state, write } = failing(away, 10)
  const exit = await persistedWithin(10 * limits.persistGapMs, write)
  expect(exit).toMatchObject({ _tag: "Some", value: { value: Either.right("written") } })
  expect(state.calls).toBe(11)
})

test("it is given up after the time for it, and not before", async () => {
  const { write } = failing(away, Number.POSITIVE_INFINITY)
  expect((await persistedWithin(limits.persistMs - limits.persistGapMs, write))._tag).toBe("None")
  const exit = await persistedWithin(limits.persistMs + limits.persistGapMs, write)
  expect(exit).toMatchObject({ _tag: "Some", value: { value: Either.left(away) } })
})

test.each([
  ["a lost lease", lost],
  ["a mistake in the statement", defect]
] as const)("%s fails it at once", async (_, error) => {
  const { state, write } = failing(error, 1)
  expect(await persistedWithin(0, write)).toMatchObject({ _tag: "Some", value: { value: Either.left(error) } })
  expect(state.calls).toBe(1)
})
