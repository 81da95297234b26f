/** What the tests of source connections share: a database, the look at its backends, and connections that fail loudly. */
import { afterAll, beforeAll, expect } from "bun:test"
import { Effect, Exit, Scope } from "effect"
import type postgres from "postgres"
import { defaultDialect } from "../../src/csv/dialect.ts"
import { CursorSource } from "../../src/rows/cursor-source.ts"
import { connectSource, SourceError, type SourceConnection } from "../../src/rows/source-connection.ts"
import { connect, freshDatabase } from "../support/shared.ts"
import { until } from "../support/until.ts"

/** The server's process behind a source connection. */
export interface Backend {
  readonly pid: number
  readonly state: string
  /** The wait event. */
  readonly wait: string | null
}
type Shows = (backend: Backend) => boolean
/** Its cursor waits for the next fetch; to the server that is no idle state. */
export const isIdle: Shows = ({ wait }) => wait === "ClientRead"
/** We do not read what it sends. */
export const isBlocked: Shows = ({ wait }) => wait === "ClientWrite"

/** A database for the tests of one file, which is left without source connections. */
export const useSource = () => {
  let url: string
  let sql: postgres.Sql
  beforeAll(async () => {
    url = await freshDatabase()
    sql = await connect(url, 2)
  })
  const backends = () => sql<Array<Backend>>`
    select pid, state, wait_event as wait from pg_stat_activity
    where application_name = 'sluice source' and datname = current_database()`
  const noBackend = () => until("no source connection", async () => (await backends()).length === 0, 1000)
  /** The backend that `shows` it. */
  const backendThat = (what: string, shows: Shows) => until(`a backend that ${what}`, async () => (await backends()).find(shows))
  afterAll(() => noBackend())

  return {
    url: () => url,
    sql: () => sql,
    /** The URL with other parts. */
    changed: (change: Partial<URL>) => Object.assign(new URL(url), change).href,
    noBackend,
    backendThat,
    terminate: async (what: string, shows: Shows) => {
      const { pid } = await backendThat(what, shows)
      await sql`select pg_terminate_backend(${pid})`
      await noBackend()
    },
    /** A connection in a scope of its own. */
    open: async (target = url) => {
      const scope = Effect.runSync(Scope.make())
      const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
      const connection = await Effect.runPromise(Scope.extend(connectSource(target), scope))
      return { connection, close, [Symbol.asyncDispose]: close }
    }
  }
}

export const statement = (text: string) => ({ text, values: [] })
/** In the select list, where the server does not compute all of them before it gives the first. */
export const manyRows = "select generate_series(1, 100000000) as n"
/** Batches of them are larger than the buffers of a socket. */
export const manyWideRows = "select repeat('x', 10000) || generate_series(1, 1000000) as n"

/** Fetches of `batch` rows, which go nowhere. */
export const cursorOf = (connection: SourceConnection, text: string, batch = 10) =>
  connection.cursor(statement(text), batch, () => {})

export const rowsOf = (connection: SourceConnection, text: string) =>
  new CursorSource(
    connection,
    { columns: ["n"], ...defaultDialect },
    { statement: statement(text), estimatedRows: 0 },
    1000,
    1024
  )

/** The error of a promise that must fail. */
export const rejection = (promise: Promise<unknown>): Promise<SourceError> =>
  promise.then(
    (value) => Promise.reject(new Error(`resolved to ${Bun.inspect(value)}`)),
    (error: unknown) => {
      expect(error).toBeInstanceOf(SourceError)
      return error as SourceError
    }
  )

/** Reads on to the failure, which must come, and counts the bytes before it. */
export const failureOf = async (rows: CursorSource): Promise<{ error: SourceError; bytes: number }> => {
  let bytes = 0
  const readAll = async () => {
    for (let chunk; (chunk = await rows.next()); rows.recycle(chunk)) bytes += chunk.length
  }
  const error = await rejection(readAll())
  return { error, bytes }
}
