import { expect, test } from "bun:test"
import { Waiter } from "../../../src/http/routes/waiter.ts"

/** Longer than any test may take. */
const LONG = 60_000

test("a wait ends with a change, or after its time", async () => {
  const waiter = new Waiter()
  await waiter.wait(1)
  const waiting = waiter.wait(LONG)
  waiter.wake(1)
  await waiting
})

test("a change while nobody waits ends the next wait, and no later one", async () => {
  const waiter = new Waiter()
  waiter.wake(1)
  await waiter.wait(LONG)
  const next = waiter.wait(LONG)
  expect(Bun.peek.status(next)).toBe("pending")
  waiter.wake(0)
  await next
})

test("a change after a wait that ended after its time ends the next wait", async () => {
  const waiter = new Waiter()
  await waiter.wait(1)
  waiter.wake(1)
  await waiter.wait(LONG)
})
