/**
 * A session on the source database that cannot lie about its end, and that can be ended at any moment:
 *
 *     opening ──▶ in its transaction ──▶ committed
 *        └────────────────┴──▶ ended: by a lost connection, by `destroy`, or because an answer cannot be used
 *
 * postgres.js alone does not give this: a cursor whose connection dies between two batches ends as if complete, a
 * statement sent after that ends the process, and breaking off a running cursor or COPY wedges the connection. So the
 * socket is ours. Its `close` sets the latch `#ended`, every wait fails when the latch is set, nothing is sent after it,
 * and ending the work is destroying the socket. The server notices within milliseconds, or within `sourceCheckMs` when it
 * computes without output. A session serves one transaction and is thrown away.
 */
import { type Statement } from "./statement.ts"
import type { Socket } from "node:net"
import { Effect, type Scope } from "effect"
import postgres from "postgres"
import { limits } from "../limits.ts"
import { decodeCopyData, type CopySink } from "./protocol/copy-data.ts"
import { batchSocketReads, type Flow } from "./socket-batching.ts"
import { messageLengths, decodeDataRows, type OnRow } from "./protocol/data-row.ts"
import { literal } from "./identifier.ts"
import { lostConnection, SourceError, sqlState, toSourceError } from "./source-error.ts"
import { sessionParameters } from "./session-parameters.ts"
import { openSocket, socketTarget } from "./socket.ts"

/** An exported snapshot. Its name is unique within a server. */
export interface Snapshot {
  readonly name: string
  /** Which server it is, and how its session writes values. */
  readonly session: string
}

interface SessionOptions {
  readonly snapshot?: Snapshot | undefined
  /** The time zone; by default UTC. */
  readonly timezone?: string
}

const tooLong = new SourceError({
  message: "The source database's answer is too long to be read: ask for less, with fewer or shorter filters",
  retryable: false
})

/** Selects which server answers, and the settings that decide how it writes values and that are left to the role. */
const SERVER = `json_build_array(pg_postmaster_start_time(), current_setting('search_path'), current_setting('lc_monetary'),
  current_setting('quote_all_identifiers'))::text as session`

export class SourceSession {
  readonly #sql: postgres.Sql
  readonly #ready: Promise<unknown>
  #socket: Socket | undefined
  /** The stream that postgres.js reads: the socket, or TLS on it. */
  #stream: Socket | undefined
  #flow: Flow | undefined
  #expectCopy: ReturnType<typeof decodeCopyData> | undefined
  #ended: SourceError | undefined
  /** Bytes that the answer to the current short statement may still have. */
  #answerLeft = Number.POSITIVE_INFINITY
  /** The rejections of the waits under way. Racing each wait against one long promise would keep every batch alive. */
  readonly #waits = new Set<(error: SourceError) => void>()

  constructor(url: string) {
    let opened = false
    const socket = () => {
      // postgres.js opens another socket when one closes early. That would be another session, without our snapshot.
      if (opened) throw new Error("a session has one connection")
      opened = true
      return this.#open(url)
    }
    this.#sql = postgres(url, {
      max: 1,
      max_lifetime: 0,
      idle_timeout: 0,
      connect_timeout: limits.sourceConnectMs / 1000,
      fetch_types: false,
      prepare: false,
      ssl: false,
      backoff: false,
      onnotice: () => {},
      connection: sessionParameters as unknown as postgres.Options<{}>["connection"],
      ...({ socket } as object)
    } as postgres.Options<{}>)
    this.#ready = this.#sql.unsafe("select 1")
    this.#ready.catch(() => {})
  }

  async #open(url: string): Promise<Socket> {
    const ended = (reason: string) => {
      // Until the socket is open, the failure to open it says more: what is wrong with a certificate, for example.
      if (this.#flow) this.#end(lostConnection(reason))
    }
    this.#stream = await openSocket(socketTarget(url), (raw) => {
      this.#socket = raw
      // Registered before postgres.js, which lets a cursor end as if complete when its connection is reset between batches.
      raw.on("error", ({ message }) => ended(message))
      raw.once("close", () => ended("the connection was closed"))
      if (this.#ended) raw.destroy()
    })
    // This runs before postgres.js, which would gather an answer of any length. A plan is one message, whose header has
    // its length.
    const count = messageLengths((bytes) => {
      this.#answerLeft -= bytes
      if (this.#answerLeft < 0) this.#broken(tooLong)
    })
    this.#stream.on("data", count)
    this.#flow = this.#stream
    if (this.#socket!.destroyed) ended("the connection was closed")
    return this.#stream
  }

  /**
   * Opens the session and its read-only transaction, with a snapshot that another session has exported, or with one of its
   * own, which its first query takes. Times are written and read in `timezone`.
   */
  async begin({ snapshot, timezone }: SessionOptions): Promise<void> {
    await this.#wait(() => this.#ready)
    // Servers before PostgreSQL 14 and 17 do not have these settings. Without the first, a computing query ends with its next row.
    for (const setting of [`client_connection_check_interval = ${limits.sourceCheckMs}`, "transaction_timeout = 0"]) {
      await this.#wait(() => this.#sql.unsafe(`set ${setting}`)).catch((error: SourceError) => {
        if (this.#ended) throw error
      })
    }
    await this.#wait(() => this.#sql.unsafe("begin isolation level repeatable read read only"))
    // A snapshot must be set before any query.
    if (snapshot !== undefined) await this.#wait(() => this.#sql.unsafe(`set transaction snapshot '${snapshot.name}'`))
    // SET is used, since a query would take the snapshot.
    if (timezone !== undefined && timezone !== sessionParameters.TimeZone)
      await this.#wait(() => this.#sql.unsafe(`set local timezone to ${literal(timezone)}`)).catch((error: SourceError) => {
        const { message, cause } = error
        throw sqlState(error) === "22023" ? new SourceError({ message, retryable: false, asked: true, cause }) : error
      })
    if (snapshot === undefined) return
    // Behind one address there may be several servers, and each of them may have a snapshot of this name.
    const [own] = await this.query<Pick<Snapshot, "session">>({ text: `select ${SERVER}`, values: [] })
    if (own!.session !== snapshot.session) {
      const message = "Cannot share the snapshot: another server answers at this address, or one with other settings"
      throw new SourceError({ message, retryable: true })
    }
    // Behind somebody who waits to change the table it would wait for the very export that it is to help.
    await this.#wait(() => this.#sql.unsafe(`set local lock_timeout = ${limits.extraReaderLockMs}`))
  }

  /** What other connections need for this snapshot, as long as this one is open. */
  async exportSnapshot(): Promise<Snapshot> {
    const [row] = await this.query<Snapshot>({ text: `select pg_export_snapshot() as name, ${SERVER}`, values: [] })
    const { name, session } = row!
    if (!/^[0-9A-F-]+$/.test(name)) throw new SourceError({ message: `Cannot use the snapshot ${name}`, retryable: false })
    return { name, session }
  }

  /** Returns the decoded rows of a short statement. An answer of more than `mostBytes` ends the session. */
  query<Row>({ text, values }: Statement, mostBytes: number = limits.answerBytes): Promise<ReadonlyArray<Row>> {
    this.#answerLeft = mostBytes
    return this.#wait(() => this.#sql.unsafe(text, [...values]) as unknown as Promise<ReadonlyArray<Row>>).finally(() => {
      this.#answerLeft = Number.POSITIVE_INFINITY
    })
  }

  /**
   * Starts a cursor whose rows go to `onRow` as they arrive. The function that it returns fetches the next `batchSize` rows
   * and says whether there may be more after these. One fetch at a time.
   */
  cursor({ text, values }: Statement, batchSize: number, onRow: OnRow): () => Promise<boolean> {
    decodeDataRows(this.#stream!, onRow, this.#broken)
    const cursor = this.#sql.unsafe(text, [...values]).cursor(batchSize)
    const batches = cursor[Symbol.asyncIterator]()
    return async () => {
      try {
        const { done } = await this.#wait(() => Promise.resolve(batches.next()))
        return done !== true
      } catch (cause) {
        // A cursor that failed would look like one at its end.
        this.#ended ??= toSourceError(cause)
        throw this.#ended
      }
    }
  }

  /**
   * Runs a `copy … to stdout`, whose bytes go to `sink`. Resolves to the number of rows when all of them have arrived. A COPY
   * may be sent while another one runs; the server goes on with it at once.
   */
  async copy(text: string, sink: CopySink): Promise<number> {
    if (!this.#expectCopy) {
      this.#expectCopy = decodeCopyData(this.#stream!, this.#broken)
      // Bytes under TLS must pass through its stream.
      if (this.#stream === this.#socket) this.#flow = batchSocketReads(this.#socket!)
    }
    const copy = this.#expectCopy(sink)
    const { count } = await this.#wait(() => this.#sql.unsafe(text))
    if (count !== copy.rows)
      throw new SourceError({ message: `Cannot read: ${copy.rows} of ${count} rows have arrived`, retryable: true })
    return copy.rows
  }

  /** Stops reading from the server, which stops its query when the buffers between are full. */
  pause(): void {
    this.#flow?.pause()
  }

  resume(): void {
    this.#flow?.resume()
  }

  /** Commits the transaction. What was read is complete only when this resolves. */
  async commit(): Promise<void> {
    const result = await this.#wait(() => this.#sql.unsafe("commit"))
    // A transaction that failed answers COMMIT with ROLLBACK.
    if (result.command !== "COMMIT")
      throw new SourceError({ message: `Cannot commit: the server answered ${result.command}`, retryable: true })
    this.#ended = new SourceError({ message: "Cannot read: the session on the source database has ended", retryable: true })
    // Terminates the session properly: the server would log a lost connection otherwise.
    await this.#sql.end({ timeout: 1 }).catch(() => {})
  }

  /** Ends all work at once, whatever it waits for. */
  destroy(): void {
    this.#end(new Error("the session was destroyed"))
    this.#socket?.destroy()
  }

  /** Ends the session because what arrived cannot be used. */
  readonly #broken = (cause: unknown) => {
    this.#end(cause)
    this.#socket?.destroy()
  }

  #end(cause: unknown): void {
    this.#ended ??= toSourceError(cause)
    for (const fail of this.#waits) fail(this.#ended)
  }

  #wait<A>(start: () => Promise<A>): Promise<A> {
    if (this.#ended) return Promise.reject(this.#ended)
    const { promise, resolve, reject } = Promise.withResolvers<A>()
    this.#waits.add(reject)
    start().then(
      // The end of a cursor and the loss of its connection look alike to postgres.js; the latch tells them apart.
      (value) => (this.#ended ? reject(this.#ended) : resolve(value)),
      (cause) => reject(toSourceError(cause))
    )
    return promise.finally(() => this.#waits.delete(reject))
  }
}

/** Opens a session with its transaction, and destroys it when the scope closes. */
export const openSession = (url: string, options: SessionOptions = {}): Effect.Effect<SourceSession, SourceError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new SourceSession(url)),
    (session) => Effect.sync(() => session.destroy())
  ).pipe(
    Effect.tap((session) =>
      Effect.tryPromise({ try: () => session.begin(options), catch: toSourceError }).pipe(
        Effect.timeoutFail({
          duration: limits.sourceConnectMs,
          onTimeout: () =>
            new SourceError({
              message: `Cannot reach the source database within ${limits.sourceConnectMs / 1000} s`,
              retryable: true,
              outage: true
            })
        })
      )
    )
  )
