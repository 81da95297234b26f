/** CopyBytes on a real PostgreSQL when its bytes are not taken or its readers are stopped: little memory, a complete file. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Fiber, TestClock } from "effect"
import { limits } from "../../../src/limits.ts"
import { makeAdmission } from "../../../src/source/admission.ts"
import { keepReader } from "../../../src/read/copy/parallel-readers.ts"
import { openSession } from "../../../src/source/session.ts"
import { withTestClock } from "../../support/effect.ts"
import { until } from "../../support/until.ts"
import { begin, HUGE } from "./numbered-parts.fixture.ts"
import { failureOf, inTime, isBlocked, isIdle, isSleeping, rejection, useSource } from "../reading.fixture.ts"
import { take } from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { url, openLeader, noBackend, allShow, gone, closeGates, openGate } = useSource()

/** The bytes that Bun reads from a socket at once. */
const READ = 512 * 1024

describe("bytes that nobody takes", () => {
  test("pause the leader and the further readers, and few of them are in memory", async () => {
    await using leader = await openLeader()
    const readers = [await leader.reader(), await leader.reader()]
    const { source, isWhole } = begin(leader, readers, { rows: HUGE }, { rows: HUGE }, { rows: HUGE }, { rows: 10 })
    await allShow(isBlocked, leader, ...readers)
    const most = limits.readAheadBytes + readers.length * limits.extraReaderBytes + 3 * READ
    expect(source.waitingBytes).toBeLessThan(most)
    expect(readers.map(({ reader }) => reader.isPaused)).toEqual([true, true])
    expect(readers.every(({ reader }) => reader.pausedMs > 0)).toBe(true)
    const before = await take(source, 10_000_000)
    await allShow(isBlocked, leader, ...readers)
    expect(source.waitingBytes).toBeLessThan(most)
    await isWhole(before)
  })

  test("of many small parts are not more in memory", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const readers = [await leader.reader(), await leader.reader()]
    const small = Array.from({ length: 40 }, () => ({ rows: 500 }))
    const { source, isWhole } = begin(leader, readers, { rows: 1000, gate: 500 }, ...small)
    const least = readers.length * limits.extraReaderBytes
    await until("them to be full", () => source.waitingBytes >= least)
    await allShow(isIdle, ...readers)
    expect(source.waitingBytes).toBeLessThan(least + 3 * READ)
    await openGate(0)
    await isWhole()
  })

  test("of many tiny parts are those of a limited number of parts", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, isWhole } = begin(leader, [extra], { rows: 2, gate: 1 }, ...Array.from({ length: 200 }, () => ({ rows: 1 })))
    await allShow(isIdle, extra)
    expect(source.rows).toBe(limits.openParts - 1)
    await openGate(0)
    await isWhole()
  })
})

describe("a further reader that is stopped", () => {
  test("keeps nothing of what it read ahead, and the file is complete", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const small = Array.from({ length: 20 }, () => ({ rows: 300 }))
    const { source, ended, isWhole } = begin(leader, [extra], { rows: 1000, gate: 100 }, ...small)
    await until("the reader to be full", () => source.waitingBytes >= limits.extraReaderBytes)
    source.stop(extra.reader)
    await gone(extra)
    await inTime(ended[0]!.catch(() => {}))
    expect(source.waitingBytes).toBeLessThan(100_000)
    await openGate(0)
    await isWhole()
  })

  test("in the middle of a part keeps nothing, either, while another reader is paused", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const [first, second] = [await leader.reader(), await leader.reader()]
    const { source, ended, isWhole } = begin(leader, [first, second], { rows: 1000, gate: 100 }, { rows: HUGE }, { rows: HUGE })
    await allShow(isBlocked, first, second)
    source.stop(first.reader)
    await inTime(rejection(ended[0]!))
    await gone(first)
    source.stop(second.reader)
    await inTime(rejection(ended[1]!))
    expect(source.waitingBytes).toBeLessThan(100_000)
    await openGate(0)
    await isWhole()
  })

  test("in a part before that of the paused leader leaves its part to the leader", async () => {
    await closeGates(1)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, isWhole } = begin(leader, [extra], { rows: 1 }, { rows: 3000, gate: 2000 }, { rows: HUGE })
    const before = await take(source, 1_900_000)
    await allShow(isBlocked, leader)
    source.stop(extra.reader)
    await openGate(1)
    await isWhole(before)
  })

  test("after the leader has read all its parts reads on", async () => {
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, ended, isWhole } = begin(leader, [extra], { rows: 1 }, { rows: 1 })
    await inTime(ended[0]!)
    await allShow(isIdle, leader)
    source.stop(extra.reader)
    expect(extra.reader.isStopped).toBe(false)
    await isWhole()
  })
})

describe("a further reader whose part does not end", () => {
  test("is stopped when others wait for its session, and the leader reads the part", async () => {
    await closeGates(0, 1)
    await using leader = await openLeader()
    const { source, isWhole } = begin(leader, [], { rows: 1000, gate: 500 }, { rows: 1000, gate: 300 })
    const admission = await Effect.runPromise(makeAdmission({ sessions: 1, jobs: 0, readers: 1 }))
    const keeping = Effect.runFork(keepReader(source, admission, openSession(url(), { snapshot: leader.snapshot })))
    // The consumer takes so much that the leader reaches its gate before it is paused.
    const before = await take(source, 400_000)
    await until("both to have read up to their gates", () => source.rows > 700)
    await inTime(Effect.runPromise(Effect.scoped(admission.acquireForJob)))
    expect(source.rows).toBeLessThan(600)
    await Effect.runPromise(Fiber.interrupt(keeping))
    await openGate(0)
    await openGate(1)
    await isWhole(before)
  })
})

test("a further reader that is silent while the file waits for it is stopped, and the leader reads its part", async () => {
  await closeGates(0, 1)
  await using leader = await openLeader()
  const { source, isWhole } = begin(leader, [], { rows: 1000, gate: 500 }, { rows: 1000, gate: 300 })
  const admission = await Effect.runPromise(makeAdmission({ sessions: 1, jobs: 0, readers: 1 }))
  await withTestClock(
    Effect.gen(function* () {
      yield* Effect.forkScoped(keepReader(source, admission, openSession(url(), { snapshot: leader.snapshot })))
      // The consumer takes so much that the leader reaches its gate before it is paused.
      const before = yield* Effect.promise(() => take(source, 400_000))
      yield* Effect.promise(() => until("both to have read up to their gates", () => source.rows > 700))
      yield* TestClock.adjust(limits.readerSilentMs)
      expect(source.rows).toBeGreaterThan(700)
      yield* Effect.promise(() => openGate(0))
      const whole = isWhole(before)
      yield* Effect.promise(() => allShow(isIdle, leader))
      yield* TestClock.adjust(limits.readerSilentMs - limits.readerReviewMs)
      expect(source.rows).toBeGreaterThan(1200)
      yield* TestClock.adjust(2 * limits.readerReviewMs)
      yield* Effect.promise(() => allShow(isSleeping, leader))
      yield* Effect.promise(() => openGate(1))
      yield* Effect.promise(() => whole)
    })
  )
})

describe("a consumer that stops leaves no backend behind", () => {
  test.each([
    ["are paused", { rows: HUGE }, isBlocked],
    ["are at work", { rows: 1000, gate: 500 }, isSleeping]
  ])("when leader and readers %s", async (_, part, shows) => {
    await closeGates(0, 1)
    const leader = await openLeader()
    const extra = await leader.reader()
    const { source, ended } = begin(leader, [extra], part, part)
    await allShow(shows, leader, extra)
    await leader.close()
    await noBackend()
    await failureOf(source)
    await inTime(rejection(ended[0]!))
  })

  test("when the leader waits for room", async () => {
    await closeGates(1)
    const leader = await openLeader()
    const extra = await leader.reader()
    const { source } = begin(leader, [extra], { rows: 300 }, { rows: 1000, gate: 500 }, { rows: 1 })
    await take(source, 100_000)
    await allShow(isSleeping, extra)
    await leader.close()
    await noBackend()
    await failureOf(source)
  })
})
