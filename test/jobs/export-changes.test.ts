/** Notifications are hints: those that are lost while the connection for them is away cost time, never truth. */
import { beforeAll, expect, test } from "bun:test"
import { Effect, Exit, Queue, Scope } from "effect"
import { until } from "../support/until.ts"
import { startJobs, type Jobs } from "./store.fixture.ts"

const run = Effect.runPromise
let { sql, store, changes, created, claimed }: Jobs = {} as Jobs
beforeAll(async () => {
  ;({ sql, store, changes, created, claimed } = await startJobs())
})

/** Counts the changes of an export, until the scope is closed. */
const watched = async (id: string) => {
  const scope = Effect.runSync(Scope.make())
  const seen = { count: 0 }
  await run(
    Scope.extend(
      changes.watch(id, () => void seen.count++),
      scope
    )
  )
  return { seen, close: () => run(Scope.close(scope, Exit.void)) }
}

/** Ends the connection that listens, and returns its process id. */
const endListening = async () => {
  const [listener] = await sql<[{ pid: number }]>`
    select pid from pg_stat_activity where datname = current_database() and query ilike 'listen "sluice_%'`
  await sql`select pg_terminate_backend(${listener.pid})`
  return listener.pid
}
const listensAgain = (before: number) =>
  until("the connection for notifications to be opened again", async () => {
    const rows = await sql`
      select pid from pg_stat_activity where datname = current_database() and query ilike 'listen "sluice_%' and pid <> ${before}`
    return rows.length > 0
  })

test("a watcher is called for its own export alone, until it leaves", async () => {
  const [id, other] = [await created(), await created()]
  const { seen, close } = await watched(id)
  await claimed(other)
  const job = await claimed(id)
  await until("the claim to be noticed", () => seen.count === 1)
  await close()
  await run(store.release(job, false))
  const { seen: later } = await watched(id)
  await claimed(id)
  // Of the release and of the claim; the release may have been noticed before this watcher came.
  await until("the second claim to be noticed", () => later.count >= 1)
  expect(seen.count).toBe(1)
})

test("after the connection was lost every watcher looks again, whatever was missed, and notifications arrive as before", async () => {
  const id = await created()
  const { seen, close } = await watched(id)
  const ended = await endListening()
  // Nobody is notified of this one.
  const job = await claimed(id)
  await listensAgain(ended)
  await until("the watcher to look again", () => seen.count >= 1)
  const before = seen.count
  await run(store.progress(job, { processedRows: 1, totalRows: 2 }))
  await until("the next change to be noticed", () => seen.count > before)
  await close()
})

test("a cancellation arrives at the worker also after the connection was lost", async () => {
  await listensAgain(await endListening())
  const id = await created()
  await until("a cancellation to arrive", async () => {
    await run(store.cancel(id))
    await sql`select pg_notify('sluice_cancelled', ${id})`
    return (await run(Queue.takeAll(changes.cancelled))).length > 0
  })
})
