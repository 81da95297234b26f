import { expect, test } from "bun:test"
import { Effect, Logger, TestClock } from "effect"
import { makeOutage, type Outage } from "../../src/source/outage.ts"
import { withTestClock } from "../support/effect.ts"

/** Returns what a program logs. */
const logOf = async (program: (outage: Outage) => Effect.Effect<unknown>) => {
  const lines: Array<string> = []
  const logger = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ message }) => void lines.push(String(message)))
  )
  await withTestClock(Effect.provide(program(makeOutage("the database")), logger))
  return lines
}
const failsFor = (outage: Outage, seconds: number) =>
  outage.failed("refused").pipe(Effect.zipRight(TestClock.adjust("1 second")), Effect.repeatN(seconds - 1))

test("an outage is logged when it begins, once a minute, and when it is over", async () => {
  const lines = await logOf((outage) => failsFor(outage, 150).pipe(Effect.zipRight(outage.over), Effect.zipRight(outage.over)))
  expect(lines).toEqual([
    "the database cannot be reached: refused",
    "the database cannot be reached since 1970-01-01T00:00:00.000Z: refused",
    "the database cannot be reached since 1970-01-01T00:00:00.000Z: refused",
    "the database is reached again, after 150 s"
  ])
})

test("short outages in a row, as with full connection slots, are logged once a minute", async () => {
  const lines = await logOf((outage) => failsFor(outage, 1).pipe(Effect.zipRight(outage.over), Effect.repeatN(89)))
  expect(lines).toEqual([
    "the database cannot be reached: refused",
    "the database is reached again, after 1 s",
    "the database cannot be reached: refused",
    "the database is reached again, after 1 s"
  ])
})

test("an outage has the time of its beginning until it is over", async () => {
  const seen: Array<number | undefined> = []
  await logOf((outage) => {
    const look = Effect.sync(() => void seen.push(outage.since()))
    return Effect.all([look, TestClock.adjust("7 seconds"), failsFor(outage, 3), look, outage.over, look])
  })
  expect(seen).toEqual([undefined, 7_000, undefined])
})
