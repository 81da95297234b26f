/** The queue delivers an export again after a failed attempt, each time later, up to a limit. */
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { Effect } from "effect"
import { limits } from "../../src/limits.ts"
import { until } from "../support/until.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

setDefaultTimeout(60_000)
let { sql, queue, created }: Jobs = {} as Jobs
beforeAll(async () => {
  ;({ sql, queue, created } = await startJobs({ MAX_CONCURRENT_EXPORTS: "1" }))
})

/** Attempts whose pause is looked at: after them it has reached its limit. */
const ATTEMPTS = 7

test("the pause before the next delivery doubles from the first to the longest", async () => {
  const delivered: Array<string> = []
  await Effect.runPromise(
    queue.work((id) => {
      delivered.push(id)
      return Promise.reject(new Error("not now"))
    })
  )
  const id = await created()
  const pauses: Array<number> = []
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const job = await until("the delivery to be put back", async () => {
      const [row] = await sql<[{ count: number; state: string; pause: number }]>`
        select retry_count as count, state, extract(epoch from start_after - now())::float8 as pause
        from sluice_queue.job where id = ${id}`
      return delivered.length === attempt && row.state === "retry" && row
    })
    pauses.push(job.pause)
    // Instead of waiting for it.
    await sql`update sluice_queue.job set start_after = now() where id = ${id}`
  }
  expect(new Set(delivered)).toEqual(new Set([id]))
  for (const [at, pause] of pauses.entries()) {
    expect(pause).toBeLessThanOrEqual(Math.min(limits.jobRetryDelayMaxSeconds, limits.jobRetryDelaySeconds * 2 ** (at + 1)))
    // A part of it is chance, so that jobs that failed together do not come back together.
    expect(pause).toBeGreaterThan(Math.min(limits.jobRetryDelayMaxSeconds, limits.jobRetryDelaySeconds * 2 ** at) / 2 - 1)
  }
  expect(pauses.at(-1)).toBeGreaterThan(pauses[0]!)
})
