/**
 * A connection to the source database that cannot lie about its end, and that can be ended at any moment.
 *
 * postgres.js alone does neither: a cursor whose connection dies between two batches ends as if complete, a
 * statement sent after that ends the process, and breaking a running cursor or COPY off wedges the connection. So
 * the socket is ours: its `close` sets a latch, every wait fails when the latch is set, nothing is sent after it,
 * and ending the work is destroying the socket. The server notices within milliseconds, or within
 * `sourceCheckMs` when it is computing without output. The connection serves one transaction and is thrown away.
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
import { openSocket, socketTarget } from "./socket.ts"

const parameters = {
  application_name: "sluice source",
  TimeZone: "UTC",
  DateStyle: "ISO",
  bytea_output: "hex",
  // Those of a role, or of a database, might lose digits, or days.
  IntervalStyle: "postgres",
  extra_float_digits: "1",
  // An export may take hours and its client may pause: the service limits these itself.
  // As text: postgres.js leaves a number 0 out.
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  lock_timeout: limits.sourceLockMs,
  // Literals are written for it.
  standard_conforming_strings: "on",
  // Compiling costs more than it gives before a first row.
  jit: "off",
  // One order of rows for all ways to read them: no scan that starts in the middle, none by several processes, whose
  // number is `EXPORT_PARALLELISM`'s to bound.
  synchronize_seqscans: "off",
  max_parallel_workers_per_gather: "0"
}

/** A snapshot by its name, which is unique within a server. */
export interface Snapshot {
  readonly name: string
  /** Which server it is, and how its session writes values. */
  readonly session: string
}

interface Session {
  readonly snapshot?: Snapshot | undefined
  /** UTC, unless another is named. */
  readonly timezone?: string
}

const tooLong = new SourceError({
  message: "The source database's answer is too long to be read: ask for less, with fewer or shorter filters",
  retryable: false
})

/** Which server answers, and the settings by which it writes values and that are left to the role, which may be altered. */
const SESSION = `json_build_array(pg_postmaster_start_time(), current_setting('search_path'), current_setting('lc_monetary'),
  current_setting('quote_all_identifiers'))::text as session`

export class SourceSession {
  readonly #sql: postgres.Sql
  readonly #ready: Promise<unknown>
  #socket: Socket | undefined
  /** What postgres.js reads: the socket, or the TLS on it. */
  #stream: Socket | undefined
  #flow: Flow | undefined
  #expectCopy: ReturnType<typeof decodeCopyData> | undefined
  #ended: SourceError | undefined
  /** How many more bytes the answer to the current short statement may have. */
  #answerLeft = Number.POSITIVE_INFINITY
  /** Fail the waits that are under way. Racing each wait against one long promise would keep every batch alive. */
  readonly #waits = new Set<(error: SourceError) => void>()

  constructor(url: string) {
    let opened = false
    const socket = () => {
      // postgres.js opens another socket when one closes early: that would be another session, without our snapshot.
      if (opened) throw new Error("the connection is used once")
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
      connection: parameters as unknown as postgres.Options<{}>["connection"],
      ...({ socket } as object)
    } as postgres.Options<{}>)
    this.#ready = this.#sql.unsafe("select 1")
    this.#ready.catch(() => {})
  }

  async #open(url: string): Promise<Socket> {
    const ended = (reason: string) => {
      // Until then the failure to open it says more: what is wrong with a certificate, for example.
      if (this.#flow) this.#end(lostConnection(reason))
    }
    this.#stream = await openSocket(socketTarget(url), (raw) => {
      this.#socket = raw
      // Before postgres.js, which would let a cursor end as if complete when its connection is reset between two batches.
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
   * Opens the session and its read-only transaction, with a snapshot that another connection has exported, or with one of
   * its own, which its first query takes. Times are told, and read, in `timezone`.
   */
  async begin({ snapshot, timezone }: Session): Promise<void> {
    await this.#wait(() => this.#ready)
    // Not on every server: since PostgreSQL 14 (without it a computing query ends with its next row), and 17.
    for (const setting of [`client_connection_check_interval = ${limits.sourceCheckMs}`, "transaction_timeout = 0"]) {
      await this.#wait(() => this.#sql.unsafe(`set ${setting}`)).catch((error: SourceError) => {
        if (this.#ended) throw error
      })
    }
    await this.#wait(() => this.#sql.unsafe("begin isolation level repeatable read read only"))
    // A snapshot is taken before any query.
    if (snapshot !== undefined) await this.#wait(() => this.#sql.unsafe(`set transaction snapshot '${snapshot.name}'`))
    // Not by a query, which would take the snapshot.
    if (timezone !== undefined && timezone !== parameters.TimeZone)
      await this.#wait(() => this.#sql.unsafe(`set local timezone to ${literal(timezone)}`)).catch((error: SourceError) => {
        const { message, cause } = error
        throw sqlState(error) === "22023" ? new SourceError({ message, retryable: false, asked: true, cause }) : error
      })
    if (snapshot === undefined) return
    // Behind one address there may be several servers, and each of them may have a snapshot of this name.
    const [own] = await this.query<Pick<Snapshot, "session">>({ text: `select ${SESSION}`, values: [] })
    if (own!.session !== snapshot.session) {
      const message = "Cannot share the snapshot: another server answers at this address, or one with other settings"
      throw new SourceError({ message, retryable: true })
    }
    // Behind somebody who waits to change the table it would wait for the very export that it is to help.
    await this.#wait(() => this.#sql.unsafe(`set local lock_timeout = ${limits.extraReaderLockMs}`))
  }

  /** What other connections need for this snapshot, as long as this one is open. */
  async exportSnapshot(): Promise<Snapshot> {
    const [row] = await this.query<Snapshot>({ text: `select pg_export_snapshot() as name, ${SESSION}`, values: [] })
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
   * Starts a cursor whose rows go to `onRow` as they arrive. `fetch` asks for the next `batchSize` of them and tells
   * whether there may be more after these; one fetch at a time.
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
        // A cursor that failed would look like one that is at its end.
        this.#ended ??= toSourceError(cause)
        throw this.#ended
      }
    }
  }

  /**
   * Runs a `copy … to stdout`, whose bytes go to `sink`. Resolves to its rows when all of them have come. It may be
   * sent while another one runs: the server goes on with it at once.
   */
  async copy(text: string, sink: CopySink): Promise<number> {
    if (!this.#expectCopy) {
      this.#expectCopy = decodeCopyData(this.#stream!, this.#broken)
      // TLS has to be taken off what a read gives.
      if (this.#stream === this.#socket) this.#flow = batchSocketReads(this.#socket!)
    }
    const copy = this.#expectCopy(sink)
    const { count } = await this.#wait(() => this.#sql.unsafe(text))
    if (count !== copy.rows)
      throw new SourceError({ message: `Cannot read: ${copy.rows} rows came of ${count} that were sent`, retryable: true })
    return copy.rows
  }

  /** Stops taking bytes from the server, which stops its query when the buffers between are full. */
  pause(): void {
    this.#flow?.pause()
  }

  resume(): void {
    this.#flow?.resume()
  }

  /** Ends the transaction. Only when this resolves was everything that was read complete. */
  async commit(): Promise<void> {
    const result = await this.#wait(() => this.#sql.unsafe("commit"))
    // A transaction that failed answers COMMIT with ROLLBACK.
    if (result.command !== "COMMIT")
      throw new SourceError({ message: `Cannot commit: the server answered ${result.command}`, retryable: true })
    this.#ended = new SourceError({ message: "Cannot read: the source connection has ended", retryable: true })
    // Says goodbye to the server, which would log a lost connection otherwise.
    await this.#sql.end({ timeout: 1 }).catch(() => {})
  }

  /** Ends all work at once, whatever it is waiting for. */
  destroy(): void {
    this.#end(new Error("it was ended"))
    this.#socket?.destroy()
  }

  /** What arrived cannot be used. */
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
      // The end of a cursor and the loss of its connection look alike to postgres.js; the latch tells.
      (value) => (this.#ended ? reject(this.#ended) : resolve(value)),
      (cause) => reject(toSourceError(cause))
    )
    return promise.finally(() => this.#waits.delete(reject))
  }
}

/** A connection with an open snapshot, destroyed when the scope closes. */
export const openSession = (url: string, session: Session = {}): Effect.Effect<SourceSession, SourceError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new SourceSession(url)),
    (connection) => Effect.sync(() => connection.destroy())
  ).pipe(
    Effect.tap((connection) =>
      Effect.tryPromise({ try: () => connection.begin(session), catch: toSourceError }).pipe(
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
