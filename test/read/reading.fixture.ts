/** What the tests of source sessions share: a database, a view of its backends, and sessions whose failures are seen. */
import { afterAll, beforeAll, expect } from "bun:test"
import net from "node:net"
import { Effect, Exit, Scope } from "effect"
import type postgres from "postgres"
import { defaultDialect } from "../../src/formats/csv/dialect.ts"
import type { ExportBytes, CsvLayout } from "../../src/read/export-bytes.ts"
import { CopyBytes } from "../../src/read/copy/copy-bytes.ts"
import { CursorBytes } from "../../src/read/cursor/cursor-bytes.ts"
import { PartReader } from "../../src/read/copy/parts.ts"
import { openSession, type Snapshot, type SourceSession } from "../../src/source/session.ts"
import { SourceError } from "../../src/source/source-error.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

/** The process of the server behind a source session. */
export interface Backend {
  readonly pid: number
  readonly state: string
  /** The wait event. */
  readonly wait: string | null
}
type Shows = (backend: Backend) => boolean
/** Its cursor waits for the next fetch, which is no idle state to the server. */
export const isIdle: Shows = ({ wait }) => wait === "ClientRead"
/** It waits until we read what it sends. */
export const isBlocked: Shows = ({ wait }) => wait === "ClientWrite"

/** Returns '' once its gate is open. A wait for a lock would end after the `lock_timeout` of the session. */
const passGate = `create function pass_gate(gate int) returns text language plpgsql as $$ begin
  loop exit when pg_try_advisory_xact_lock_shared(gate); perform pg_sleep(0.01); end loop; return ''; end $$`
/** It waits at a gate, for example. */
export const isSleeping: Shows = ({ wait }) => wait === "PgSleep"

const never = () => false

export type Leader = Awaited<ReturnType<ReturnType<typeof useSource>["openLeader"]>>
export type FurtherReader = Awaited<ReturnType<Leader["reader"]>>

/** Makes a database for the tests of one file, and expects that no source session is left at the end. */
export const useSource = () => {
  let url: string
  let sql: postgres.Sql
  /** Its only session has the locks of the gates. */
  let gates: postgres.Sql
  beforeAll(async () => {
    url = await freshDatabase()
    sql = await connect(url, 2)
    gates = await connect(url, 1)
    await sql.unsafe(passGate)
  })
  const backends = () => sql<Array<Backend>>`
    select pid, state, wait_event as wait from pg_stat_activity
    where application_name = 'sluice source' and datname = current_database()`
  const noBackend = () => until("no source connection", async () => (await backends()).length === 0, 1000)
  /** Returns the backend for which `shows` is true. */
  const backendThat = (what: string, shows: Shows) => until(`a backend that ${what}`, async () => (await backends()).find(shows))
  afterAll(() => noBackend())
  /** Returns the URL with other parts. */
  const changed = (change: Partial<URL>) => Object.assign(new URL(url), change).href

  /** Opens a session in a scope of its own. */
  const open = async (target = url, snapshot?: Snapshot) => {
    const scope = Effect.runSync(Scope.make())
    const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
    const connection = await Effect.runPromise(Scope.extend(openSession(target, { snapshot }), scope))
    return { connection, close, [Symbol.asyncDispose]: close }
  }

  /** Ends a process of the server, and returns when it is gone. */
  const kill = async ({ pid }: Pick<Backend, "pid">) => {
    await sql`select pg_terminate_backend(${pid})`
    await gone({ pid })
  }
  const gone = ({ pid }: Pick<Backend, "pid">) =>
    until(`process ${pid} to be gone`, async () => (await backends()).every((backend) => backend.pid !== pid), 1000)

  /** Waits until `shows` is true of each for a while, since a fast server waits for us now and then. */
  const allShow = async (shows: Shows, ...connections: ReadonlyArray<Pick<Backend, "pid">>) => {
    for (const { pid } of connections) {
      let looks = 0
      await until(`process ${pid} to wait`, async () => {
        const shown = (await backends()).some((backend) => backend.pid === pid && shows(backend))
        looks = shown ? looks + 1 : 0
        return looks === 5
      })
    }
  }

  /** Listens, and returns the URL of the database with the port of this server. */
  const listen = async (server: net.Server) => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return changed({ port: String((server.address() as net.AddressInfo).port), search: "?sslmode=disable" })
  }

  /**
   * A relay to the server that counts what clients send, and may end the connection at a text instead of sending it on.
   * `change` may change what the server sends.
   */
  const relay = async ({ breakAt, change = (bytes) => bytes }: { breakAt?: string; change?: (bytes: Buffer) => Buffer } = {}) => {
    const { hostname, port } = new URL(url)
    const seen = { connections: 0, bytes: 0 }
    let last: net.Socket | undefined
    const relaying = net.createServer((client) => {
      seen.connections++
      last = client
      const server = net.connect(Number(port), hostname)
      server.on("data", (bytes: Buffer) => client.write(change(bytes))).on("error", () => {})
      server.on("close", () => client.end())
      client.on("error", () => {}).on("close", () => server.destroy())
      client.on("data", (bytes) => {
        seen.bytes += bytes.length
        if (breakAt !== undefined && bytes.includes(breakAt)) client.destroy()
        else server.write(bytes)
      })
    })
    const target = await listen(relaying)
    return {
      seen,
      target,
      breakOff: (reset: boolean) => void (reset ? last?.resetAndDestroy() : last?.end()),
      [Symbol.dispose]: () => void relaying.close()
    }
  }

  return {
    url: () => url,
    sql: () => sql,
    changed,
    noBackend,
    backendThat,
    allShow,
    gone,
    kill,
    /** Closes gates: what calls `pass_gate` for them waits until they are opened. All other gates are open. */
    closeGates: async (...numbers: ReadonlyArray<number>) => {
      await gates`select pg_advisory_unlock_all()`
      for (const number of numbers) await gates`select pg_advisory_lock(${number})`
    },
    openGate: (number: number) => gates`select pg_advisory_unlock(${number})`,
    terminate: async (what: string, shows: Shows) => {
      await kill(await backendThat(what, shows))
      await noBackend()
    },
    open,
    listen,
    relay,
    /** Opens a leader, in one scope with its further readers. */
    openLeader: async (target = url) => {
      const sessions = [await open(target)]
      const { connection } = sessions[0]!
      const pid = await pidOf(connection)
      const snapshot = await connection.exportSnapshot()
      const close = async () => {
        for (const session of sessions) await session.close()
      }
      return {
        connection,
        pid,
        snapshot,
        close,
        [Symbol.asyncDispose]: close,
        /** Opens a further session in the same snapshot. */
        reader: async (readerTarget = url) => {
          const session = await open(readerTarget, snapshot)
          sessions.push(session)
          let isWanted: () => boolean = never
          const reader = new PartReader(session.connection, () => isWanted())
          return {
            reader,
            pid: await pidOf(session.connection),
            /** Reads parts as a further reader of the service does. */
            read: (source: CopyBytes, shouldYield = never): Promise<void> => {
              isWanted = shouldYield
              const reading = async () => {
                await source.readWith(reader)
                if (!reader.isStopped) await session.connection.commit()
              }
              const ended = reading()
              ended.catch(() => {})
              return ended
            }
          }
        }
      }
    }
  }
}

const pidOf = async (connection: SourceSession): Promise<number> => {
  const [row] = await connection.query<{ pid: number }>(statement("select pg_backend_pid() as pid"))
  return row!.pid
}

export const statement = (text: string) => ({ text, values: [] })
/** In the select list, where the server does not compute all of them before it gives the first. */
export const manyRows = "select generate_series(1, 100000000) as n"
/** Rows whose batches are larger than the buffers of a socket. */
export const manyWideRows = "select repeat('x', 10000) || generate_series(1, 1000000) as n"

/** Fetches batches of `batch` rows, and drops them. */
export const cursorOf = (connection: SourceSession, text: string, batch = 10) =>
  connection.cursor(statement(text), batch, () => {})

const shape: CsvLayout = { dialect: defaultDialect, header: ["n"], isTextColumn: [false], bom: false }

export const rowsOf = (connection: SourceSession, text: string) =>
  new CursorBytes(connection, shape, { statement: statement(text), estimatedRows: 0 }, 1000, 1024)

/** Reads COPY statements in one session. */
export const copyOf = (connection: SourceSession, ...statements: ReadonlyArray<string>) =>
  new CopyBytes(connection, shape, statements.values(), 0, 65_536, 0)

/** The time after which a promise counts as stuck. The time limit of a test would end the server. */
export const inTime = <A>(work: Promise<A>): Promise<A> => {
  let timer: Timer
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing comes any more")), 15_000)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** Returns the error of a promise that must fail. */
export const rejection = (promise: Promise<unknown>): Promise<SourceError> =>
  promise.then(
    (value) => Promise.reject(new Error(`resolved to ${Bun.inspect(value)}`)),
    (error: unknown) => {
      expect(error).toBeInstanceOf(SourceError)
      return error as SourceError
    }
  )

/** Reads until it fails, which it must, and counts the bytes before that. */
export const failureOf = async (rows: ExportBytes): Promise<{ error: SourceError; bytes: number }> => {
  let bytes = 0
  const readAll = async () => {
    for (let chunk; (chunk = await inTime(rows.next())); rows.recycle(chunk)) bytes += chunk.length
  }
  const error = await rejection(readAll())
  return { error, bytes }
}
