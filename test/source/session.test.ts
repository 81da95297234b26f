/** Source connections that fail, for real: never an end that looks complete, and no word to a server that is gone. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import net from "node:net"
import { Effect, Fiber, TestClock } from "effect"
import { limits } from "../../src/limits.ts"
import { openSession } from "../../src/source/session.ts"
import { withTestClock } from "../support/effect.ts"
import { until } from "../support/until.ts"
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
  useSource
} from "../read/reading.fixture.ts"

setDefaultTimeout(30_000)

const { url, sql, changed, open, openLeader, noBackend, terminate, listen, relay } = useSource()

describe("a connection that is lost", () => {
  test("between two batches fails the next fetch and everything after it", async () => {
    await using session = await open()
    const fetch = cursorOf(session.connection, manyRows)
    expect(await fetch()).toBe(true)
    await terminate("is idle", isIdle)
    for (const attempt of [fetch, fetch, () => session.connection.commit()]) {
      expect(await rejection(attempt())).toMatchObject({ retryable: true })
    }
  })

  test.each(["ended", "reset"])("and %s between two batches never looks like the end of the rows", async (how) => {
    using relayed = await relay()
    for (let turns = 0; turns < 60; turns++) {
      await using session = await open(relayed.target)
      const fetch = cursorOf(session.connection, manyRows)
      await fetch()
      relayed.breakOff(how === "reset")
      // Each run fetches a little later: the socket tells of an error, of its end and of its close one after the other.
      for (let turn = 0; turn < turns % 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      await rejection(fetch())
      await rejection(fetch())
    }
  })

  test("while nobody takes the rows fails them, after those that came", async () => {
    await using session = await open()
    const rows = rowsOf(session.connection, manyWideRows)
    expect(await rows.next()).toBeInstanceOf(Uint8Array)
    await terminate("waits for us to read", isBlocked)
    const { error, bytes } = await failureOf(rows)
    expect(bytes).toBeGreaterThan(0)
    expect(error.retryable).toBe(true)
    await rejection(rows.next())
  })

  test("while a fetch is pending fails the fetch", async () => {
    await using session = await open()
    const failed = rejection(cursorOf(session.connection, "select pg_sleep(60)")())
    await terminate("sleeps", ({ wait }) => wait === "PgSleep")
    expect((await failed).retryable).toBe(true)
  })

  test("at any moment fails the rows", async () => {
    for (let chunks = 0; chunks < 40; chunks++) {
      await using session = await open()
      const rows = rowsOf(session.connection, manyRows)
      for (let at = 0; at < chunks; at++) rows.recycle((await rows.next())!)
      const failed = failureOf(rows)
      await sql()`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sluice source'`
      expect((await failed).error.retryable).toBe(true)
      await noBackend()
    }
  })

  test("before the answer to commit fails the rows, though all were read", async () => {
    using relayed = await relay({ breakAt: "commit" })
    await using session = await open(relayed.target)
    const rows = rowsOf(session.connection, "select n from generate_series(1, 9) n")
    expect((await failureOf(rows)).error.retryable).toBe(true)
    expect(rows.rows).toBe(9)
    expect(relayed.seen.connections).toBe(1)
  })

  test("is sent nothing more, and not opened again", async () => {
    using relayed = await relay()
    await using session = await open(relayed.target)
    const rows = rowsOf(session.connection, manyRows)
    await rows.next()
    relayed.breakOff(true)
    await failureOf(rows)
    const seen = { ...relayed.seen }
    await rejection(rows.next())
    await rejection(session.connection.query(statement("select 1")))
    await rejection(session.connection.commit())
    await session.close()
    expect(relayed.seen).toEqual(seen)
    expect(seen.connections).toBe(1)
  })
})

describe("a query that fails", () => {
  test.each([
    ["for good when the table is missing", "select * from missing", "42P01", false],
    ["for good when the column is missing", "select missing from users", "42703", false],
    ["for good when the data does not suit", "select 1 / 0", "22012", false]
  ])("fails %s", async (_, query, code, retryable) => {
    await using session = await open()
    const { error, bytes } = await failureOf(rowsOf(session.connection, query))
    expect(bytes).toBe(0)
    expect(error.retryable).toBe(retryable)
    expect(error.message).toStartWith(`Cannot read from the source database: ${code}: `)
    expect(error.message).not.toContain("select")
  })

  test("in row 5000 fails after rows before it", async () => {
    await using session = await open()
    const rows = rowsOf(session.connection, "select 1 / (5000 - n) from generate_series(1, 10000) n")
    const { error, bytes } = await failureOf(rows)
    expect(error.message).toContain("22012: division by zero")
    expect(bytes).toBeGreaterThan(0)
    expect(rows.rows).toBeLessThan(5000)
    await rejection(rows.next())
  })

  test("fails all later fetches too", async () => {
    await using session = await open()
    const fetch = cursorOf(session.connection, "select 1 / 0")
    await rejection(fetch())
    await rejection(fetch())
  })

  test("makes commit fail, which the server answers with ROLLBACK", async () => {
    await using session = await open()
    await rejection(session.connection.query(statement("select 1 / 0")))
    expect((await rejection(session.connection.commit())).message).toBe("Cannot commit: the server answered ROLLBACK")
  })
})

describe("a session that cannot be opened", () => {
  test.each([
    ["the server is not there", { port: "1" }, "cannot be reached", "ECONNREFUSED"],
    ["the password is wrong", { password: "wrong" }, "refused the service's login", "28P01"],
    ["the database is missing", { pathname: "/missing" }, "does not exist", "3D000"],
    ["the server offers no TLS", { search: "?sslmode=require" }, "cannot be read", "the server does not offer it"]
  ])("says so when %s, in the log with the reason, and leaves no backend", async (_, change, sentence, reason) => {
    const target = changed(change)
    const { message, logged } = await Effect.runPromise(Effect.scoped(Effect.flip(openSession(target))))
    expect(message).toStartWith("The ")
    expect(message).toContain(sentence)
    expect(logged).toStartWith(message)
    expect(logged).toContain(reason)
    const { hostname, port, username, password } = new URL(target)
    for (const secret of [hostname, port.padStart(4, ":"), `"${username}"`, "missing", password])
      expect(message).not.toContain(secret)
    expect(logged).not.toContain(new URL(url()).password)
    await noBackend()
  })

  test("is not tried again when the server hangs up", async () => {
    let connections = 0
    const rude = net.createServer((socket) => void (connections++, socket.end()))
    await Effect.runPromise(Effect.scoped(Effect.flip(openSession(await listen(rude)))))
    expect(connections).toBe(1)
    rude.close()
  })

  test("is given up when the server stays silent", async () => {
    const sockets = new Set<net.Socket>()
    const silent = net.createServer((socket) => void sockets.add(socket.on("close", () => sockets.delete(socket)).resume()))
    const target = await listen(silent)
    const error = await withTestClock(
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(Effect.flip(Effect.scoped(openSession(target))))
        yield* Effect.promise(() => until("a connection", () => sockets.size === 1))
        yield* TestClock.adjust(limits.sourceConnectMs)
        return yield* Fiber.join(fiber)
      })
    )
    expect(error).toMatchObject({ message: "Cannot reach the source database within 10 s", retryable: true })
    await until("the socket to close", () => sockets.size === 0)
    silent.close()
  })
})

test("a snapshot is taken from the server that it was exported on, by sessions that write values as that one does", async () => {
  await using leader = await openLeader()
  await leader.reader()
  const refusal = "Cannot share the snapshot: another server answers at this address, or one with other settings"
  const refused = async ({ session } = leader.snapshot) => {
    const extra = openSession(url(), { snapshot: { ...leader.snapshot, session } })
    return (await Effect.runPromise(Effect.scoped(Effect.flip(extra)))).message
  }
  const elsewhere = leader.snapshot.session.replace(/\d{4}/, "2000")
  expect(await refused({ ...leader.snapshot, session: elsewhere })).toBe(refusal)
  const database = new URL(url()).pathname.slice(1)
  await sql().unsafe(`alter database ${database} set search_path = elsewhere`)
  expect(await refused()).toBe(refusal)
  await sql().unsafe(`alter database ${database} reset search_path`)
  await leader.reader()
})

test("a session has the settings that an export depends on, whatever the database's defaults are", async () => {
  const database = new URL(url()).pathname.slice(1)
  const defaults = [
    "timezone = 'Asia/Tokyo'",
    "datestyle = 'German'",
    "client_encoding = 'LATIN1'",
    "statement_timeout = '1h'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = -3"
  ]
  for (const setting of defaults) await sql().unsafe(`alter database ${database} set ${setting}`)
  await using session = await open()
  const expected = {
    TimeZone: "UTC",
    DateStyle: expect.stringMatching(/^ISO/),
    client_encoding: "UTF8",
    IntervalStyle: "postgres",
    extra_float_digits: "1",
    statement_timeout: "0",
    transaction_isolation: "repeatable read",
    transaction_read_only: "on"
  }
  const settings = Object.keys(expected).map((name) => `current_setting('${name}') as "${name}"`)
  expect(await session.connection.query(statement(`select ${settings.join()}`))).toEqual([expected])
})
