import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import { isFinished, next, transitions, type ExportStatus, type Transition } from "../../src/exports/export-job.ts"

const statuses: ReadonlyArray<ExportStatus> = ["pending", "processing", "completed", "failed", "cancelled", "expired"]
const names = Object.keys(transitions) as ReadonlyArray<Transition>

/** The lifecycle as it was agreed on, written down a second time: status → transition → status. */
const agreed: Record<ExportStatus, Partial<Record<Transition, ExportStatus>>> = {
  pending: { claim: "processing", fail: "failed", cancel: "cancelled" },
  processing: { claim: "processing", release: "pending", complete: "completed", fail: "failed", cancel: "cancelled" },
  completed: { damage: "failed", expire: "expired" },
  failed: {},
  cancelled: {},
  expired: {}
}

describe("the transition table", () => {
  test.each(statuses)("from %s", (status) => {
    for (const name of names) expect(next(status, name)).toBe(agreed[status][name])
  })
  test("finished is everything but pending and processing", () => {
    expect(statuses.filter((status) => !isFinished(status))).toEqual(["pending", "processing"])
  })
})

/** The statuses of a job whose transitions are tried in this order; a forbidden one changes nothing. */
const historyOf = (tried: ReadonlyArray<Transition>): ReadonlyArray<ExportStatus> => {
  const history: Array<ExportStatus> = ["pending"]
  for (const name of tried) history.push(next(history.at(-1)!, name) ?? history.at(-1)!)
  return history
}

const histories = (check: (history: ReadonlyArray<ExportStatus>, tried: ReadonlyArray<Transition>) => void) =>
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...names), { maxLength: 40 }), (tried) => check(historyOf(tried), tried)),
    { numRuns: 2_000 }
  )

describe("in every history of a job", () => {
  test("a finished job never becomes unfinished", () => {
    histories((history) => {
      const finish = history.findIndex(isFinished)
      if (finish !== -1) expect(history.slice(finish).every(isFinished)).toBe(true)
    })
  })
  test("nothing but expire and damage leaves a finished status, and only completed is left", () => {
    histories((history, tried) => {
      tried.forEach((name, step) => {
        const [before, after] = [history[step]!, history[step + 1]!]
        if (!isFinished(before) || before === after) return
        expect(before).toBe("completed")
        expect([name, after]).toEqual(name === "expire" ? ["expire", "expired"] : ["damage", "failed"])
      })
    })
  })
  test("a job is completed only by a worker that has it, and expired only after that", () => {
    histories((history) => {
      history.forEach((status, step) => {
        const before = history.slice(0, step)
        if (status === "completed") expect(before).toContain("processing")
        if (status === "expired") expect(before).toContain("completed")
      })
    })
  })
  test("a job ends once: completed, failed and cancelled exclude each other, until a file is damaged", () => {
    histories((history, tried) => {
      if (tried.includes("damage")) return
      const ends = new Set(history.filter((status) => isFinished(status) && status !== "expired"))
      expect(ends.size).toBeLessThanOrEqual(1)
    })
  })
  test("what is cancelled or failed keeps its status for good", () => {
    histories((history) => {
      const end = history.findIndex((status) => status === "cancelled" || status === "failed")
      if (end !== -1) expect(new Set(history.slice(end)).size).toBe(1)
    })
  })
  test("an unfinished job can still be completed, failed and cancelled", () => {
    histories((history) => {
      const last = history.at(-1)!
      if (isFinished(last)) return
      expect(next(next(last, "claim")!, "complete")).toBe("completed")
      expect(next(last, "fail")).toBe("failed")
      expect(next(last, "cancel")).toBe("cancelled")
    })
  })
})
