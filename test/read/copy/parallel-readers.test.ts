/** CopyBytes on a real PostgreSQL when connections are lost: the file is complete or fails. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { until } from "../../support/until.ts"
import { begin, HUGE, sourceOf } from "./numbered-parts.fixture.ts"
import { failureOf, inTime, isBlocked, isIdle, isSleeping, rejection, useSource } from "../reading.fixture.ts"
import { take } from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { sql, openLeader, allShow, kill, closeGates, openGate } = useSource()

describe("a further reader that is lost", () => {
  test("in the first part: the leader reads it again, and the bytes that were emitted are left out", async () => {
    await closeGates(1)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, ended, isWhole } = begin(leader, [extra], { rows: 1 }, { rows: 3000, gate: 2000 })
    const before = await take(source, 1_900_000)
    await allShow(isSleeping, extra)
    await kill(extra)
    await inTime(rejection(ended[0]!))
    await openGate(1)
    await isWhole(before)
  })

  test("in the first part while the leader is paused on a later one: the leader drops the later part and reads the first", async () => {
    await closeGates(1)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, isWhole } = begin(leader, [extra], { rows: 1 }, { rows: 3000, gate: 2000 }, { rows: HUGE }, { rows: 1 })
    const before = await take(source, 1_900_000)
    await allShow(isSleeping, extra)
    await allShow(isBlocked, leader)
    await kill(extra)
    await openGate(1)
    await isWhole(before)
  })

  test("in the first part while the leader and another reader are paused on later ones", async () => {
    await closeGates(1, 2, 3)
    await using leader = await openLeader()
    const [first, second] = [await leader.reader(), await leader.reader()]
    const huge = { rows: HUGE, gate: 1 }
    const { source, isWhole } = begin(leader, [first, second], { rows: 1 }, { rows: 3000, gate: 1000 }, huge, huge)
    await allShow(isSleeping, leader, first, second)
    const before = await take(source, 900_000)
    await openGate(2)
    await allShow(isBlocked, second)
    await openGate(3)
    await allShow(isBlocked, leader)
    await kill(first)
    await openGate(1)
    await isWhole(before)
  })

  test.each(["the leader", "another"])("in a part that is not emitted yet, which %s reads again", async (which) => {
    await closeGates(0, 1)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, ended, isWhole } = begin(leader, [extra], { rows: 1000, gate: 500 }, { rows: 3000, gate: 300 }, { rows: 100 })
    const before = await take(source, 400_000)
    await allShow(isSleeping, leader, extra)
    await until("bytes of the further reader to wait", () => source.waitingBytes > 250_000)
    await kill(extra)
    await inTime(rejection(ended[0]!))
    expect(source.waitingBytes).toBeLessThan(200_000)
    if (which === "another") {
      const other = await leader.reader()
      void other.read(source)
      await allShow(isSleeping, other)
    }
    await openGate(0)
    await openGate(1)
    await isWhole(before)
  })

  test("in a part that is not emitted yet while nobody takes bytes", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { ended, isWhole } = begin(leader, [extra], { rows: 1000, gate: 500 }, { rows: HUGE }, { rows: 100 })
    await allShow(isBlocked, extra)
    await kill(extra)
    await openGate(0)
    await isWhole()
    await inTime(rejection(ended[0]!))
  })

  test("at the moment when all readers begin, without a part being read twice or left out", async () => {
    await using leader = await openLeader()
    const readers = [await leader.reader(), await leader.reader(), await leader.reader()]
    const { ended, isWhole } = begin(leader, readers, ...Array.from({ length: 40 }, () => ({ rows: 200 })))
    await kill(readers[0]!)
    await isWhole()
    await Promise.all(ended.slice(1))
  })
})

describe("a part with other bytes when it is read again, after some of it was emitted,", () => {
  const short = "a"
  const long = "b".repeat(60)
  test.each([
    ["as long", short, "c"],
    ["longer", short, long],
    ["shorter than what was emitted", long, short]
  ])("fails the file: %s", async (_, before, after) => {
    await closeGates(1)
    const filler = "x".repeat(20)
    await sql().unsafe(`
      drop table if exists moods; drop type if exists mood; create type mood as enum ('${before}');
      create table moods as select n, '${before}'::mood as mood, '${filler}' as filler from generate_series(1, 2000) n`)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const moods = "copy (select mood, filler, case n when 1999 then pass_gate(1) end from moods) to stdout (format csv)"
    const source = sourceOf(leader, [extra], ["copy (select 1) to stdout (format csv)", moods])
    const ended = extra.read(source)
    await allShow(isSleeping, extra)
    // The last rows stay in the buffers of the server and of the client.
    await take(source, (before.length + 23) * 1998 - 26_000)
    await sql().unsafe(`alter type mood rename value '${before}' to '${after}'`)
    await kill(extra)
    await inTime(rejection(ended))
    await openGate(1)
    const { error } = await failureOf(source)
    expect(error.message).toBe("Rows changed while a part of the export was read again")
  })
})

describe("a leader that is lost fails the file", () => {
  test("when it was paused", async () => {
    await using leader = await openLeader()
    const { source } = begin(leader, [], { rows: HUGE })
    await allShow(isBlocked, leader)
    await kill(leader)
    expect((await failureOf(source)).error.retryable).toBe(true)
  })

  test("when it was reading", async () => {
    await closeGates(0)
    await using leader = await openLeader()
    const { source } = begin(leader, [], { rows: 1000, gate: 500 })
    await allShow(isSleeping, leader)
    const failed = failureOf(source)
    await kill(leader)
    expect((await failed).bytes).toBeGreaterThan(400_000)
    await rejection(source.next())
  })

  test.each([
    ["waited for a further reader, which goes on", { rows: 1 }],
    ["was paused after the part of a further reader, which goes on", { rows: HUGE }]
  ])("when it %s", async (_, last) => {
    await closeGates(1)
    await using leader = await openLeader()
    const extra = await leader.reader()
    const { source, ended } = begin(leader, [extra], { rows: 1 }, { rows: 3000, gate: 1500 }, last)
    await take(source, 1_400_000)
    await allShow(isSleeping, extra)
    await allShow(last.rows > 1 ? isBlocked : isIdle, leader)
    await kill(leader)
    await openGate(1)
    expect((await failureOf(source)).error.retryable).toBe(true)
    await leader.close()
    await inTime(ended[0]!.catch(() => {}))
  })

  test("when all was read, but the answer to commit has not arrived", async () => {
    await using leader = await openLeader()
    const { source } = begin(leader, [], { rows: 10 })
    await take(source, 10_000)
    await allShow(isIdle, leader)
    await kill(leader)
    await failureOf(source)
  })
})
