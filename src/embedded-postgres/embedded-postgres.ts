// Runs an embedded PostgreSQL for a service that has no DATABASE_URL.
//
// The steps are: wait until the server of a previous service has ended → open the cluster → create its roles → start the
// server on a free port → wait until it answers → write `<dataDir>/database-url`. From then on a fiber in the scope starts
// the server again, on the same port, whenever it ends. Closing the scope stops it, and so does any end of our process,
// SIGKILL included.
import { Effect, Schedule, type Scope } from "effect"
import { open, readFile, readlink, realpath, rename, rm, stat, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import postgres from "postgres"
import { type Cluster, dataDirectory, openCluster } from "./cluster-files.ts"
import { attempt, EmbeddedPostgresError, isAlive, spawnOptions } from "./programs.ts"
import { prepareRoles } from "./roles.ts"

export { EmbeddedPostgresError }

const PREVIOUS_LIMIT_MS = 10_000
const READY_LIMIT = "60 seconds" // creating the roles has already recovered the cluster from a crash
const STOP_LIMIT = "20 seconds" // a fast shutdown writes shared_buffers to disk, 10 ms to some seconds
const START_TRIES = 5
const RESTART_DELAY = "1 second"
const RESTART_DELAY_MAX = "1 minute"
const POLL = Schedule.spaced("20 millis")
const LOG_LIMIT_BYTES = 10_000_000
const LOG_TAIL_BYTES = 2_000

/**
 * Runs the server ("$@") until it ends by itself or our end of standard input closes, whatever closed it. In the second
 * case SIGINT makes the server shut down fast. Descriptor 3 stands in for standard input, since sh gives /dev/null to
 * background jobs.
 */
const WRAPPER = `exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ read -r _ <&3; kill -INT $server; } & watcher=$!
wait $server; code=$?
kill $watcher 2>/dev/null; wait; exit $code`

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=", // the path of a socket has at most 107 bytes, and that of the data directory may be longer
  "max_connections=120",
  "timezone=UTC",
  // The role has the name of Sluice's schema, into which a table that is created without a schema would be put otherwise.
  "search_path=public",
  // These suit bulk reads and loads in little memory. Nobody replicates from this server.
  "shared_buffers=128MB",
  "effective_io_concurrency=64",
  "jit=off",
  "wal_level=minimal",
  "max_wal_senders=0",
  "max_wal_size=2GB",
  "checkpoint_timeout=15min",
  // The log stays small and has no text of statements; an error goes to the client that caused it.
  "log_timezone=UTC",
  "log_checkpoints=off",
  "log_min_messages=log"
]

const freePort = Effect.sync(() => {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  listener.stop(true)
  return listener.port
})

/** Returns the process id of this cluster's running server; undefined if there is none. */
const runningServer = (cluster: string) =>
  attempt(`Cannot use ${cluster}`, async () => {
    const file = join(cluster, "postmaster.pid")
    const pid = await readFile(file, "utf8").then(Number.parseInt, () => Number.NaN)
    if (!(pid > 0) || !isAlive(pid)) return undefined // a number below 0 is that of PostgreSQL in single-user mode
    // A server runs in its data directory. A process whose directory cannot be read counts as a server.
    if (((await readlink(`/proc/${pid}/cwd`).catch(() => undefined)) ?? cluster) === (await realpath(cluster))) return pid
    // Another program has got the number since, perhaps after a reboot. PostgreSQL would take it for a server and not start.
    await rm(file)
    return undefined
  })

const inUse = (cluster: string, pid: number) => {
  const message = `Cannot start PostgreSQL in ${cluster}: process ${pid} is already using it. Stop that service, or set another DATA_DIR.`
  return new EmbeddedPostgresError({ message })
}

/** Waits until the server of a service that was just killed has shut down. */
const waitForPrevious = (cluster: string, limitMs: number) =>
  Effect.flatMap(runningServer(cluster), (pid) => (pid === undefined ? Effect.void : inUse(cluster, pid))).pipe(
    Effect.retry(Schedule.intersect(POLL, Schedule.recurUpTo(limitMs)))
  )

interface Server {
  readonly exited: Effect.Effect<number>
  /** The last lines that this run wrote to the log. */
  readonly lastLines: Effect.Effect<string, EmbeddedPostgresError>
}

const startServer = (cluster: Cluster, log: string, port: number): Effect.Effect<Server, EmbeddedPostgresError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt("Cannot start PostgreSQL", async () => {
      const grown = await stat(log).catch(() => undefined)
      if (grown && grown.size > LOG_LIMIT_BYTES) await rename(log, `${log}.1`)
      const output = await open(log, "a", 0o600)
      try {
        const logStart = (await output.stat()).size
        const settings = [`port=${port}`, ...SETTINGS].flatMap((setting) => ["-c", setting])
        const child = Bun.spawn(["sh", "-c", WRAPPER, "sh", cluster.postgres, "-D", dataDirectory(cluster.path), ...settings], {
          ...spawnOptions(cluster.account, cluster.path),
          stdin: "pipe",
          stdout: output.fd,
          stderr: output.fd
        })
        return { child, logStart }
      } finally {
        await output.close()
      }
    }),
    ({ child }) =>
      Effect.promise(async () => child.stdin.end()).pipe(
        Effect.zipRight(Effect.interruptible(Effect.promise(() => child.exited))),
        Effect.timeout(STOP_LIMIT),
        Effect.catchAll(() => Effect.sync(() => process.kill(-child.pid, "SIGKILL")))
      )
  ).pipe(
    Effect.map(({ child, logStart }) => ({
      exited: Effect.promise(() => child.exited),
      lastLines: attempt(`Cannot read ${log}`, async () => {
        const text = Bun.file(log)
        return (await text.slice(Math.max(logStart, text.size - LOG_TAIL_BYTES)).text()).trim()
      })
    }))
  )

/**
 * Matches failures that pass: the port was taken meanwhile, processes of a killed server are still ending, or another
 * service creates the roles.
 */
const PASSING = /could not create any TCP\/IP sockets|shared memory block .* is still in use|lock file .* already exists/

/** Waits until a connection works. A server that starts refuses connections, or answers 57P03 while it recovers from a crash. */
const waitForAnswer = (url: string) =>
  attempt("Cannot connect to the embedded PostgreSQL", async () => {
    const sql = postgres(url, { max: 1, connect_timeout: 5 })
    try {
      await sql`select 1`
    } finally {
      await sql.end({ timeout: 1 })
    }
  }).pipe(
    Effect.retry({
      schedule: POLL,
      while: ({ cause }) => !(cause instanceof postgres.PostgresError) || cause.code === "57P03"
    }),
    Effect.timeoutFail({
      duration: READY_LIMIT,
      onTimeout: () => new EmbeddedPostgresError({ message: `Cannot connect to the embedded PostgreSQL within ${READY_LIMIT}` })
    })
  )

/** Creates the roles, starts the server on a free port and waits until it answers. */
const firstStart = (cluster: Cluster, log: string) =>
  Effect.gen(function* () {
    const rival = yield* runningServer(cluster.path) // another service, started at the same moment
    if (rival !== undefined) return yield* inUse(cluster.path, rival)
    const passwords = yield* prepareRoles(cluster)
    const port = yield* freePort
    const urlOf = (role: string, password: string) => `postgres://${role}:${password}@127.0.0.1:${port}/sluice`
    const url = urlOf("sluice", passwords.sluice)
    const server = yield* startServer(cluster, log, port)
    const ended = Effect.gen(function* () {
      const code = yield* server.exited
      const first = yield* runningServer(cluster.path)
      if (first !== undefined) return yield* inUse(cluster.path, first)
      const message = `Cannot start PostgreSQL: it exited with code ${code}. The end of ${log}:\n${yield* server.lastLines}`
      return yield* new EmbeddedPostgresError({ message })
    })
    yield* Effect.raceFirst(waitForAnswer(url), ended)
    return { server, port, url, sourceUrl: urlOf("sluice_source", passwords.source) }
  }).pipe(
    Effect.retry({
      times: START_TRIES - 1,
      schedule: Schedule.spaced(RESTART_DELAY),
      while: ({ message }) => PASSING.test(message)
    })
  )

/**
 * Starts the server again whenever it ends, on the port that clients know. The pause is a second at first and doubles
 * each time up to a minute; it begins anew once a server has run longer than that.
 */
const keepRunning = (cluster: Cluster, log: string, port: number, first: Server) => {
  const logEnd = (code: number) =>
    Effect.logWarning(`PostgreSQL ended unexpectedly (exit code ${code}), starting it again. Its log is ${log}`)
  const again = waitForPrevious(cluster.path, PREVIOUS_LIMIT_MS).pipe(
    Effect.zipRight(startServer(cluster, log, port)),
    Effect.flatMap((server) => server.exited),
    Effect.flatMap(logEnd),
    Effect.scoped,
    Effect.catchAll((error) => Effect.logWarning(error.message))
  )
  const restarts = Schedule.exponential(RESTART_DELAY).pipe(
    Schedule.either(Schedule.spaced(RESTART_DELAY_MAX)),
    Schedule.resetAfter(RESTART_DELAY_MAX)
  )
  return first.exited.pipe(Effect.flatMap(logEnd), Effect.delay(RESTART_DELAY), Effect.zipRight(Effect.repeat(again, restarts)))
}

/**
 * Starts the cluster under `dataDir`, creating it the first time, and stops it when the scope closes. `url` is for the
 * role that owns Sluice's schemas, and `sourceUrl` for the role that reads what is exported; both are valid until the next
 * start. `previousLimitMs` is how long a server that still runs on this cluster may take to end.
 */
export const startEmbeddedPostgres = (
  dataDir: string,
  previousLimitMs = PREVIOUS_LIMIT_MS
): Effect.Effect<{ readonly url: string; readonly sourceUrl: string }, EmbeddedPostgresError, Scope.Scope> =>
  Effect.gen(function* () {
    const root = resolve(dataDir)
    yield* waitForPrevious(join(root, "postgres"), previousLimitMs)
    const cluster = yield* openCluster(root)
    const log = join(root, "postgres.log")
    const { server, port, url, sourceUrl } = yield* firstStart(cluster, log)
    yield* attempt(`Cannot write to ${root}`, async () => {
      // An operator connects with: psql "$(cat .data/database-url)"
      const fresh = join(root, "database-url.new")
      await writeFile(fresh, `${url}\n`, { mode: 0o600 })
      await rename(fresh, join(root, "database-url"))
    })
    yield* Effect.forkScoped(keepRunning(cluster, log, port, server))
    return { url, sourceUrl }
  })
