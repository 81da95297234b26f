/** CopyBytes on a real PostgreSQL when connections are lost: the whole file, or none. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { until } from "../../support/until.ts"
import { begin, HUGE, sourceOf } from "./numbered-parts.fixture.ts"
import { failureOf, inTime, isBlocked, isIdle, isSleeping, rejection, useSource } from "../reading.fixture.ts"
import { take } from "../tables.fixture.ts"

setDefaultTimeout(60_000)

const { sql, openLead, allShow, kill, closeGates, openGate } = useSource()

describe("a helper that is lost", () => {
  test("in the part whose turn it is: the lead goes on after what was handed on", async () => {
    await closeGates(1)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, ended, isWhole } = begin(lead, [helper], { rows: 1 }, { rows: 3000, gate: 2000 })
    const before = await take(source, 1_900_000)
    await allShow(isSleeping, helper)
    await kill(helper)
    await inTime(rejection(ended[0]!))
    await openGate(1)
    await isWhole(before)
  })

  test("in the part whose turn it is, while the lead is held up on a later one: that is left for it", async () => {
    await closeGates(1)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, isWhole } = begin(lead, [helper], { rows: 1 }, { rows: 3000, gate: 2000 }, { rows: HUGE }, { rows: 1 })
    const before = await take(source, 1_900_000)
    await allShow(isSleeping, helper)
    await allShow(isBlocked, lead)
    await kill(helper)
    await openGate(1)
    await isWhole(before)
  })

  test("in the part whose turn it is, while the lead and another are held up on later ones", async () => {
    await closeGates(1, 2, 3)
    await using lead = await openLead()
    const [first, second] = [await lead.helper(), await lead.helper()]
    const huge = { rows: HUGE, gate: 1 }
    const { source, isWhole } = begin(lead, [first, second], { rows: 1 }, { rows: 3000, gate: 1000 }, huge, huge)
    await allShow(isSleeping, lead, first, second)
    const before = await take(source, 900_000)
    await openGate(2)
    await allShow(isBlocked, second)
    await openGate(3)
    await allShow(isBlocked, lead)
    await kill(first)
    await openGate(1)
    await isWhole(before)
  })

  test.each(["the lead", "another"])("in a part that waits, which %s reads again", async (which) => {
    await closeGates(0, 1)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, ended, isWhole } = begin(lead, [helper], { rows: 1000, gate: 500 }, { rows: 3000, gate: 300 }, { rows: 100 })
    const before = await take(source, 400_000)
    await allShow(isSleeping, lead, helper)
    await until("what the helper reads to come", () => source.waitingBytes > 250_000)
    await kill(helper)
    await inTime(rejection(ended[0]!))
    expect(source.waitingBytes).toBeLessThan(200_000)
    if (which === "another") {
      const other = await lead.helper()
      void other.help(source)
      await allShow(isSleeping, other)
    }
    await openGate(0)
    await openGate(1)
    await isWhole(before)
  })

  test("in a part that waits while nobody takes bytes", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { ended, isWhole } = begin(lead, [helper], { rows: 1000, gate: 500 }, { rows: HUGE }, { rows: 100 })
    await allShow(isBlocked, helper)
    await kill(helper)
    await openGate(0)
    await isWhole()
    await inTime(rejection(ended[0]!))
  })

  test("and that began at the same moment as others has not read what they read", async () => {
    await using lead = await openLead()
    const helpers = [await lead.helper(), await lead.helper(), await lead.helper()]
    const { ended, isWhole } = begin(lead, helpers, ...Array.from({ length: 40 }, () => ({ rows: 200 })))
    await kill(helpers[0]!)
    await isWhole()
    await Promise.all(ended.slice(1))
  })
})

describe("a part that the database writes otherwise when it is read again, after bytes of it were handed on", () => {
  const short = "a"
  const long = "b".repeat(60)
  test.each([
    ["as long", short, "c", "writes it otherwise"],
    ["longer", short, long, "writes it otherwise"],
    ["shorter, to less than was handed on", long, short, "writes less of it"]
  ])("fails the file: %s", async (_, before, after, reason) => {
    await closeGates(1)
    const filler = "x".repeat(20)
    await sql().unsafe(`
      drop table if exists moods; drop type if exists mood; create type mood as enum ('${before}');
      create table moods as select n, '${before}'::mood as mood, '${filler}' as filler from generate_series(1, 2000) n`)
    await using lead = await openLead()
    const helper = await lead.helper()
    const moods = "copy (select mood, filler, case n when 1999 then pass_gate(1) end from moods) to stdout (format csv)"
    const source = sourceOf(lead, [helper], ["copy (select 1) to stdout (format csv)", moods])
    const ended = helper.help(source)
    await allShow(isSleeping, helper)
    // What the server and we gather of the last rows stays there.
    await take(source, (before.length + 23) * 1998 - 26_000)
    await sql().unsafe(`alter type mood rename value '${before}' to '${after}'`)
    await kill(helper)
    await inTime(rejection(ended))
    await openGate(1)
    const { error } = await failureOf(source)
    expect(error.message).toContain(`Cannot read a part again: the database ${reason}`)
  })
})

describe("a lead that is lost fails the file", () => {
  test("when it was held up", async () => {
    await using lead = await openLead()
    const { source } = begin(lead, [], { rows: HUGE })
    await allShow(isBlocked, lead)
    await kill(lead)
    expect((await failureOf(source)).error.retryable).toBe(true)
  })

  test("when it was at work", async () => {
    await closeGates(0)
    await using lead = await openLead()
    const { source } = begin(lead, [], { rows: 1000, gate: 500 })
    await allShow(isSleeping, lead)
    const failed = failureOf(source)
    await kill(lead)
    expect((await failed).bytes).toBeGreaterThan(400_000)
    await rejection(source.next())
  })

  test.each([
    ["waited for a helper, which goes on", { rows: 1 }],
    ["was held up after the part of a helper, which goes on", { rows: HUGE }]
  ])("when it %s", async (_, last) => {
    await closeGates(1)
    await using lead = await openLead()
    const helper = await lead.helper()
    const { source, ended } = begin(lead, [helper], { rows: 1 }, { rows: 3000, gate: 1500 }, last)
    await take(source, 1_400_000)
    await allShow(isSleeping, helper)
    await allShow(last.rows > 1 ? isBlocked : isIdle, lead)
    await kill(lead)
    await openGate(1)
    expect((await failureOf(source)).error.retryable).toBe(true)
    await lead.close()
    await inTime(ended[0]!.catch(() => {}))
  })

  test("when all was read, and its answer to commit is still to come", async () => {
    await using lead = await openLead()
    const { source } = begin(lead, [], { rows: 10 })
    await take(source, 10_000)
    await allShow(isIdle, lead)
    await kill(lead)
    await failureOf(source)
  })
})
