/**
 * What `.patches` changes in postgres.js and pg-boss: the loss of a connection at a bad moment neither ends the process nor
 * makes its client useless. Each test fails without the patch, so that an update of a library cannot drop it unnoticed.
 */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import net from "node:net"
import { Effect } from "effect"
import Db from "pg-boss/dist/db.js"
import postgres from "postgres"
import { migrateDatabase } from "../../src/postgres/migrate.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(30_000)

const ENDED = "select pg_terminate_backend(pg_backend_pid())"

let url: string
beforeAll(async () => {
  url = await freshDatabase()
})

/** A client with one connection, whose socket at the moment is `socket`. */
const open = (options: postgres.Options<{}> = {}) => {
  let socket: net.Socket
  const { hostname, port } = new URL(url)
  const connectSocket = async () => {
    socket = net.connect(Number(port), hostname)
    await new Promise((resolve) => socket.once("connect", resolve))
    return socket
  }
  const settings = { max: 1, backoff: () => 0, connect_timeout: 2, fetch_types: false, socket: connectSocket, ...options }
  const sql = postgres(url, settings as postgres.Options<{}>)
  return { sql, socket: () => socket, [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) }
}

const one = async (sql: postgres.Sql) => [...(await sql`select 1 as one`)]

const failure = (query: Promise<unknown>) =>
  query.then(
    () => "nothing failed",
    (error: { readonly code?: string }) => error.code
  )

test("a transaction whose connection is lost fails, and nothing is written to the lost connection", async () => {
  await using client = open()
  expect(await failure(client.sql.begin((tx) => tx.unsafe(ENDED)))).toBeOneOf(["57P01", "CONNECTION_CLOSED"])
  expect(await one(client.sql)).toEqual([{ one: 1 }])
})

test("a connection that is lost before a query was sent is opened again", async () => {
  await using client = open()
  await one(client.sql)
  const query = client.sql`select 2`.execute()
  // The query is in the client's buffer after a microtask, and goes out with the next turn of the event loop.
  await Promise.resolve()
  client.socket().destroy().emit("close", false)
  expect(await failure(query)).toBe("CONNECTION_CLOSED")
  expect(await one(client.sql)).toEqual([{ one: 1 }])
})

test("the last answer of a lost connection is not taken for the answer to the next query", async () => {
  await using client = open()
  const rows = "select i from generate_series(1, 3) i where i < 3 or pg_terminate_backend(pg_backend_pid())"
  expect(await failure(client.sql.unsafe(rows))).toBeOneOf(["57P01", "CONNECTION_CLOSED"])
  expect(await one(client.sql)).toEqual([{ one: 1 }])
})

test("a connection that is lost while the types are fetched fails its own query alone", async () => {
  await using client = open({ fetch_types: true })
  const query = client.sql`select 1`
  const failed = failure(query)
  // The types are asked for when the server has said that it is ready, with the byte Z.
  const socket = await new Promise<net.Socket>((resolve) => {
    const look = () => (client.socket() ? resolve(client.socket()) : setImmediate(look))
    look()
  })
  await new Promise<void>((resolve) => {
    socket.on("data", (bytes: Buffer) => bytes.includes("Z\0\0\0\x05I") && resolve())
  })
  socket.destroy(new Error("reset"))
  expect(await failed).not.toBe("nothing failed")
  expect(await one(client.sql)).toEqual([{ one: 1 }])
})

test("migrations can be run again after their connection was lost in the transaction", async () => {
  const admin = await connect(url, 2)
  await admin.unsafe("create database migrated_anew")
  const empty = Object.assign(new URL(url), { pathname: "/migrated_anew" }).href
  const holder = await connect(empty, 1)
  await holder.unsafe("create schema sluice")
  // Another session that creates the same table waits for the end of this transaction.
  await holder.unsafe("begin; create table sluice.exports (id integer)")
  const migrating = Effect.runPromise(Effect.flip(migrateDatabase(empty)))
  await until("the migrations to wait, and to lose their connection", async () => {
    const ended = await admin`
      select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'sluice migrations' and datname = 'migrated_anew' and wait_event_type = 'Lock'`
    return ended.length > 0
  })
  expect((await migrating).unavailable).toBe(true)
  await holder.unsafe("rollback")
  await Effect.runPromise(migrateDatabase(empty))
})

const ignore = () => {}
const terminate = async (db: Db) => {
  const lost = new Promise((resolve) => db.once("error", resolve))
  const listening = await db.listen("given_up", ignore, ignore)
  const sql = await connect(url, 1)
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where query = 'LISTEN "given_up"'`
  await lost
  return () => listening.close()
}

describe("an error on a listening connection that pg-boss has given up does not end the process", () => {
  test.each([
    ["because the server ended it", terminate],
    ["because LISTEN failed", async (db: Db) => failure(db.listen('no "name', ignore, ignore))],
    ["because it stops", async (db: Db) => (await db.listen("stopped", ignore, ignore)).close()]
  ])("%s", async (_, giveUp) => {
    const socket = new net.Socket()
    const db = new Db({ connectionString: url, stream: () => socket } as ConstructorParameters<typeof Db>[0])
    await db.open()
    const close = await giveUp(db)
    // An emitter throws an error for which nobody listens.
    socket.emit("error", Object.assign(new Error("the other side is silent"), { code: "ETIMEDOUT" }))
    if (typeof close === "function") await close()
    await db.close()
  })
})
