/** Sessions that the service ends: whatever the server does for them ends, too. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Fiber } from "effect"
import { limits } from "../../src/limits.ts"
import { openSession } from "../../src/source/session.ts"
import { SourceError } from "../../src/source/source-error.ts"
import {
  cursorOf,
  failureOf,
  isBlocked,
  isIdle,
  manyRows,
  manyWideRows,
  rejection,
  rowsOf,
  statement,
  useSource,
  type Backend
} from "../read/reading.fixture.ts"

setDefaultTimeout(30_000)

const { url, sql, open, noBackend, backendThat } = useSource()

/** What a backend may be doing when its session is ended: the query, the rows of a fetch, and how it can be seen. */
const occupations = {
  "is idle between two batches": [manyRows, 10, isIdle],
  "sends a batch": [manyRows, 100_000_000, ({ state }) => state === "active"],
  sleeps: ["select pg_sleep(60)", 1, ({ wait }) => wait === "PgSleep"],
  "computes without output": ["select count(*) from users a, users b, users c", 1, ({ state }) => state === "active"],
  "waits for a lock": ["select * from locked", 1, ({ wait }) => wait === "relation"]
} satisfies Record<string, [string, number, (backend: Backend) => boolean]>

/** Takes a lock for which one of the queries waits. */
const locking = async (work: () => Promise<void>) => {
  await sql()`create table if not exists locked (n int)`
  await sql().begin(async (holder) => {
    await holder`lock table locked`
    await work()
  })
}

describe.each(Object.entries(occupations))("a backend that %s is gone within a second", (what, [query, batch, shows]) => {
  test("after its scope is closed, and the fetch fails", () =>
    locking(async () => {
      await using session = await open()
      const fetch = cursorOf(session.connection, query, batch)
      const outcome = fetch().catch((error: unknown) => error)
      await backendThat(what, shows)
      await session.close()
      await noBackend()
      if (shows === isIdle) expect(await outcome).toBe(true)
      else expect(await outcome).toBeInstanceOf(SourceError)
      await rejection(fetch())
    }))

  test("after its fiber is interrupted", () =>
    locking(async () => {
      const fiber = Effect.runFork(
        openSession(url()).pipe(
          Effect.flatMap((connection) => Effect.promise(cursorOf(connection, query, batch))),
          Effect.zipRight(Effect.never),
          Effect.scoped
        )
      )
      await backendThat(what, shows)
      await Effect.runPromise(Fiber.interrupt(fiber))
      await noBackend()
    }))
})

describe("a backend that is blocked writing to us is gone within a second", () => {
  test("after its scope is closed, and the rows fail", async () => {
    await using session = await open()
    const rows = rowsOf(session.connection, manyWideRows)
    await backendThat("waits for us to read", isBlocked)
    await session.close()
    await noBackend()
    await failureOf(rows)
  })

  test("after its fiber is interrupted", async () => {
    const reader = openSession(url()).pipe(
      Effect.flatMap((connection) => Effect.promise(() => rowsOf(connection, manyWideRows).next())),
      Effect.zipRight(Effect.never),
      Effect.scoped
    )
    const fiber = Effect.runFork(reader)
    await backendThat("waits for us to read", isBlocked)
    await Effect.runPromise(Fiber.interrupt(fiber))
    await noBackend()
  })
})

test("a server whose rows are not taken waits, and few of them are in memory", async () => {
  await using session = await open()
  const rows = rowsOf(session.connection, manyWideRows)
  for (let look = 0; look < 20; look++) await backendThat("waits for us to read", isBlocked)
  // The bytes in the buffer of a socket when it is paused come on top.
  expect(rows.rows * 10_000).toBeLessThan(2 * limits.readAheadBytes + 1_000_000)
})

test("a session that has committed is gone before its scope closes, and refuses further queries", async () => {
  await using session = await open()
  const rows = rowsOf(session.connection, "select 1")
  for (let chunk; (chunk = await rows.next());) rows.recycle(chunk)
  await noBackend()
  await rejection(session.connection.query(statement("select 1")))
})
