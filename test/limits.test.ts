/** The limits that must be above or below one another, or what a comment promises does not hold. */
import { expect, test } from "bun:test"
import { join } from "node:path"
import { Duration } from "effect"
import { limits } from "../src/limits.ts"
import { settings } from "../src/settings.ts"

const root = join(import.meta.dir, "..")
const most: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries(limits).filter((entry): entry is [string, number] => typeof entry[1] === "number")
)

test("every limit is above zero", () => {
  for (const [name, value] of Object.entries(most)) expect({ name, isAbove: value > 0 }).toEqual({ name, isAbove: true })
})

test("the longest SOURCE_OUTAGE leaves a job as long again before the queue hands it out to another worker", () => {
  expect(2 * Duration.toSeconds(limits.sourceOutageMax)).toBeLessThanOrEqual(limits.jobMaxSeconds)
})

test("a connection outlasts the longest statement in the app database, so the answer can still be sent", () => {
  expect(limits.appStatementMs).toBeLessThan(limits.idleSeconds * 1000)
})

test("a dead instance's jobs are handed out within the 13 seconds that the handbook promises", async () => {
  expect(limits.jobHeartbeatSeconds + limits.queueSuperviseSeconds).toBeLessThanOrEqual(13)
  expect(await Bun.file(join(root, ".ops/README.md")).text()).toContain("within 13 seconds")
})

test("draining and its last words fit into the grace of docker compose and of other container runtimes", async () => {
  const compose = await Bun.file(join(root, "docker-compose.yml")).text()
  const graces = [...compose.matchAll(/stop_grace_period: (\d+)s/g)].map(([, seconds]) => Number(seconds))
  expect(graces).not.toEqual([])
  for (const seconds of [...graces, 10]) expect(limits.drainMs + limits.abortGraceMs).toBeLessThan(seconds * 1000)
  expect(limits.releaseMs + limits.queueStopMs).toBeLessThan(limits.drainMs)
})

test("Bun's idle timer is at its maximum, since it must not end a connection before our own limits do", () => {
  expect(limits.idleSeconds).toBe(255)
  expect(Math.max(limits.requestHeadMs, limits.clientIdleMs, limits.clientStallMs)).toBeLessThanOrEqual(limits.idleSeconds * 1000)
})

test("what is sent in intervals comes before a reader takes silence for an end", () => {
  expect(limits.eventGapMs).toBeLessThan(limits.eventKeepAliveMs)
  expect(limits.eventKeepAliveMs).toBeLessThan(limits.clientStallMs)
  expect(limits.clientStallMs).toBeLessThanOrEqual(limits.idleSeconds * 1000)
  expect(limits.connectionSweepMs).toBeLessThan(limits.requestHeadMs)
})

test("a part fits into the buffer of the reader that reads it, and STREAM_LOOKAHEAD lets each of three jobs have one", () => {
  expect(limits.partBytes).toBeLessThan(limits.extraReaderBytes)
  expect(limits.readAheadBytes).toBeLessThan(limits.extraReaderBytes)
  expect(3 * limits.extraReaderBytes).toBeLessThanOrEqual(Number(settings.streamLookahead.default))
})

test("bodies that wait to be decoded are each within the limit of a body, and all within their sums", () => {
  expect(limits.bodyBytes).toBeLessThanOrEqual(limits.bodyWorkBytes)
  expect(limits.bodyWorkBytes).toBeLessThan(limits.bodyWaitBytes)
  expect(limits.bodyLeastBytes).toBeLessThan(limits.bodiesBytes)
})

test("a pause that doubles begins below its greatest length", () => {
  for (const [first, longest] of [
    ["sourcePauseMs", "sourcePauseMaxMs"],
    ["readerReturnMs", "readerReturnMaxMs"],
    ["jobRetryDelaySeconds", "jobRetryDelayMaxSeconds"],
    ["pageDefault", "pageMax"]
  ] as const)
    expect(limits[first]).toBeLessThan(limits[longest])
})

test("a job that only crashes fails before its deliveries are used up, and one that fails is retried in less", () => {
  expect(limits.jobCrashes).toBeLessThan(limits.jobDeliveries)
  expect(limits.jobRetries + limits.jobCrashes + limits.sourceLosses).toBeLessThan(limits.jobDeliveries)
})
