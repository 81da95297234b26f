/** CopyBytes on a real PostgreSQL when its bytes are not taken, or its helpers not wanted: little memory, and the whole file. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Fiber, TestClock } from "effect"
import { limits } from "../../../src/limits.ts"
import { makeAdmission } from "../../../src/source/admission.ts"
import { assist } from "../../../src/read/copy/parallel-readers.ts"
import { openSession } from "../../../src/source/session.ts"
import { withTestClock } from "../../support/effect.ts"
import { until } from "../../support/until.ts"
import { begin, HUGE } from "./numbered-parts.fixture.ts"
import { failureOf, inTime, isBlocked, isIdle, isSleeping, rejection, useSource } from "../reading.fixture.ts"
import { take } from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { url, openLead, noBackend, allShow, gone, closeGates, openGate } = useSource()

/** Bytes that Bun reads from a socket at once. */
const READ = 512 * 1024

describe("bytes that nobody takes", () => {
  test("hold up the lead and its helpers, and little of them is in memory", async () => {
    await using lead = await openLead()
    const helpers = [await lead.helper(), await lead.helper()]
    const { source, isWhole } = begin(lead, helpers, { rows: HUGE }, { rows: HUGE }, { rows: HUGE }, { rows: 10 })
    await allShow(isBlocked, lead, ...helpers)
    const most = limits.readAheadBytes + helpers.length * limits.extraReaderBytes + 3 * READ
    expect(source.waitingBytes).toBeLessThan(most)
    expect(helpers.map(({ reader }) => reader.held)).toEqual([true, true])
    expect(helpers.every(({ reader }) => reader.pausedMs > 0)).toBe(true)
    const before = await take(source, 10_000_000)
    await allShow(isBlocked, lead, ...helpers)
    expect(source.waitingBytes).toBeLessThan(most)
    await isWhole(before)
  })

  test("of many small parts are as few", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const helpers = [await lead.helper(), await lead.helper()]
    const small = Array.from({ length: 40 }, () => ({ rows: 500 }))
    const { source, isWhole } = begin(lead, helpers, { rows: 1000, gate: 500 }, ...small)
    const least = helpers.length * limits.extraReaderBytes
    await until("them to be full", () => source.waitingBytes >= least)
    await allShow(isIdle, ...helpers)
    expect(source.waitingBytes).toBeLessThan(least + 3 * READ)
    await openGate(0)
    await isWhole()
  })

  test("of many tiny parts are in a bounded number of them", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, isWhole } = begin(lead, [helper], { rows: 2, gate: 1 }, ...Array.from({ length: 200 }, () => ({ rows: 1 })))
    await allShow(isIdle, helper)
    expect(source.rows).toBe(limits.openParts - 1)
    await openGate(0)
    await isWhole()
  })
})

describe("a helper that is dismissed", () => {
  test("leaves nothing of what it read ahead, and the file is whole", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const helper = await lead.helper()
    const small = Array.from({ length: 20 }, () => ({ rows: 300 }))
    const { source, ended, isWhole } = begin(lead, [helper], { rows: 1000, gate: 100 }, ...small)
    await until("the helper to be full", () => source.waitingBytes >= limits.extraReaderBytes)
    source.dismiss(helper.reader)
    await gone(helper)
    await inTime(ended[0]!.catch(() => {}))
    expect(source.waitingBytes).toBeLessThan(100_000)
    await openGate(0)
    await isWhole()
  })

  test("in the middle of a part, while another is held up, leaves nothing either", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const [first, second] = [await lead.helper(), await lead.helper()]
    const { source, ended, isWhole } = begin(lead, [first, second], { rows: 1000, gate: 100 }, { rows: HUGE }, { rows: HUGE })
    await allShow(isBlocked, first, second)
    source.dismiss(first.reader)
    await inTime(rejection(ended[0]!))
    await gone(first)
    source.dismiss(second.reader)
    await inTime(rejection(ended[1]!))
    expect(source.waitingBytes).toBeLessThan(100_000)
    await openGate(0)
    await isWhole()
  })

  test("from a part before the one that the lead is held up on leaves that to it", async () => {
    await closeGates(1)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, isWhole } = begin(lead, [helper], { rows: 1 }, { rows: 3000, gate: 2000 }, { rows: HUGE })
    const before = await take(source, 1_900_000)
    await allShow(isBlocked, lead)
    source.dismiss(helper.reader)
    await openGate(1)
    await isWhole(before)
  })

  test("when the lead has read all is left alone", async () => {
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, ended, isWhole } = begin(lead, [helper], { rows: 1 }, { rows: 1 })
    await inTime(ended[0]!)
    await allShow(isIdle, lead)
    source.dismiss(helper.reader)
    expect(helper.reader.dismissed).toBe(false)
    await isWhole()
  })
})

describe("a helper whose part does not end", () => {
  test("goes when others wait for its connection, and the lead reads the part", async () => {
    await closeGates(0, 1)
    await using lead = await openLead()
    const { source, isWhole } = begin(lead, [], { rows: 1000, gate: 500 }, { rows: 1000, gate: 300 })
    const connections = await Effect.runPromise(makeAdmission({ connections: 1, jobs: 0, helpers: 1 }))
    const assisting = Effect.runFork(assist(source, connections, openSession(url(), { snapshot: lead.snapshot })))
    // So much that the lead is not held up before its gate.
    const before = await take(source, 400_000)
    await until("both to have read up to their gates", () => source.rows > 700)
    await inTime(Effect.runPromise(Effect.scoped(connections.lead)))
    expect(source.rows).toBeLessThan(600)
    await Effect.runPromise(Fiber.interrupt(assisting))
    await openGate(0)
    await openGate(1)
    await isWhole(before)
  })
})

test("a helper that brings nothing while all wait for it goes, and the lead reads its part", async () => {
  await closeGates(0, 1)
  await using lead = await openLead()
  const { source, isWhole } = begin(lead, [], { rows: 1000, gate: 500 }, { rows: 1000, gate: 300 })
  const connections = await Effect.runPromise(makeAdmission({ connections: 1, jobs: 0, helpers: 1 }))
  await withTestClock(
    Effect.gen(function* () {
      yield* Effect.forkScoped(assist(source, connections, openSession(url(), { snapshot: lead.snapshot })))
      // So much that the lead is not held up before its gate.
      const before = yield* Effect.promise(() => take(source, 400_000))
      yield* Effect.promise(() => until("both to have read up to their gates", () => source.rows > 700))
      yield* TestClock.adjust(limits.readerSilentMs)
      expect(source.rows).toBeGreaterThan(700)
      yield* Effect.promise(() => openGate(0))
      const whole = isWhole(before)
      yield* Effect.promise(() => allShow(isIdle, lead))
      yield* TestClock.adjust(limits.readerSilentMs - limits.readerReviewMs)
      expect(source.rows).toBeGreaterThan(1200)
      yield* TestClock.adjust(2 * limits.readerReviewMs)
      yield* Effect.promise(() => allShow(isSleeping, lead))
      yield* Effect.promise(() => openGate(1))
      yield* Effect.promise(() => whole)
    })
  )
})

describe("a consumer that stops leaves no backend", () => {
  test.each([
    ["are held up", { rows: HUGE }, isBlocked],
    ["are at work", { rows: 1000, gate: 500 }, isSleeping]
  ])("when lead and helpers %s", async (_, part, shows) => {
    await closeGates(0, 1)
    const lead = await openLead()
    const helper = await lead.helper()
    const { source, ended } = begin(lead, [helper], part, part)
    await allShow(shows, lead, helper)
    await lead.close()
    await noBackend()
    await failureOf(source)
    await inTime(rejection(ended[0]!))
  })

  test("when the lead waits for room", async () => {
    await closeGates(1)
    const lead = await openLead()
    const helper = await lead.helper()
    const { source } = begin(lead, [helper], { rows: 300 }, { rows: 1000, gate: 500 }, { rows: 1 })
    await take(source, 100_000)
    await allShow(isSleeping, helper)
    await lead.close()
    await noBackend()
    await failureOf(source)
  })
})
