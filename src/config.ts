import { join, resolve } from "node:path"
import { Config, ConfigError, Context, Duration, Effect, Either, LogLevel, Redacted } from "effect"
import { parseAllowList, type AllowedRelation } from "./datasets/allow-list.ts"
import { users } from "./datasets/users.ts"

/** Bounds that are not settings: each wait, queue, body and buffer of the service has one, and its name is here. */
export const limits = {
  /** Characters of path and query that are read; longer is 414. */
  urlChars: 16_384,
  /** Bytes of a request body; an export's parameters need a few hundred. */
  bodyBytes: 65_536,
  /** Values in all filters of a request together. */
  filterValues: 1_000,
  /** Characters of an API key. */
  apiKeyChars: 256,
  /** Requests remembered by the rate limiter, over all keys. Past it the key that was quiet longest is forgotten. */
  rateLimitEntries: 65_536,
  /** Server-Sent Event streams at once. */
  eventStreams: 256,
  eventKeepAliveMs: 5_000,
  /** Cancellations told to this instance and not yet acted on. */
  cancelBacklog: 1_024,
  /** Shortest time between two events of one stream: at most 5 a second. */
  eventGapMs: 200,
  /**
   * A connection on which nothing moves for this long is closed: Bun's most. Downloads of plain files obey it, too,
   * and it must exceed `controlStatementMs`, or an answer that takes as long is lost.
   */
  idleSeconds: 255,
  /**
   * A client that takes no byte of a body that is made on the fly for this long is broken off. Socket buffers hold
   * megabytes, so it is generous.
   */
  clientStallMs: 600_000,
  /** Wait of a direct stream for a free source connection before 503. */
  streamAdmissionMs: 5_000,
  sourceConnectMs: 10_000,
  /** Wait of a source query for a table lock. */
  sourceLockMs: 30_000,
  /** The server looks this often whether its client is still there. */
  sourceCheckMs: 500,
  /** Most bytes of one read of a socket that a COPY comes by. */
  directReadBytes: 262_144,
  /** Pause between two such reads, for more to come. */
  directReadMs: 2,
  /** A read of fewer is not followed by another: events tell when there is more. */
  directReadLeastBytes: 4_096,
  /** Bytes that wait to be taken, of what an export's client or file needs next, before the source is paused. */
  readAheadBytes: 262_144,
  /**
   * CSV that a part of a split table should make: enough that the statement for it does not count, little enough that
   * progress moves and reading it again is cheap. And the pages it reads at most, where a filter leaves little of them.
   */
  partBytes: 1536 * 1024,
  partPages: 8_192,
  /** A reader asks for its next part when this share of a part has come, so that the server never waits for it. */
  followShare: 0.75,
  /** Bytes that each helping connection lets wait in memory: more than a part has. `STREAM_LOOKAHEAD` bounds how many help at once. */
  helperBytes: 2 * 1024 * 1024,
  /** Parts of one export that are begun and not yet handed on; each holds a chunk's memory, however little came of it. */
  openParts: 16,
  /** Wait of a helper for a table lock. */
  helperLockMs: 100,
  /** How often it is looked whether a helper is of use, and the share of that time that it may be held up. */
  helperReviewMs: 2_000,
  helperHeldShare: 0.9,
  /** After this a helper that left, or was not to be had, is tried again; twice as long each time, up to `helperPauseMaxMs`. */
  helperPauseMs: 1_000,
  helperPauseMaxMs: 60_000,
  /** How often what may be exported is read from the source database, and how soon again when it could not be. */
  datasetsRefreshMs: 60_000,
  datasetsRetryMs: 1_000,
  /** Requests whose filters the source database looks at, at once. */
  castConnections: 4,
  controlConnections: 4,
  queueConnections: 3,
  controlConnectSeconds: 5,
  controlStatementMs: 15_000,
  /** Retries of a job whose source failed, and the longest wait before one. */
  jobRetries: 3,
  jobRetryDelaySeconds: 1,
  jobRetryDelayMaxSeconds: 30,
  /** A worker that is silent this long is taken for dead and its job is handed out again (10 is the queue's least). */
  jobHeartbeatSeconds: 10,
  queueSuperviseSeconds: 3,
  /** How long interrupted jobs may take to reach the queue while the service stops, and how long any client to close. */
  queueStopMs: 1_500,
  closeMs: 3_000,
  /** How long giving a job back may take while the service stops; its heartbeat tells others later anyway. */
  releaseMs: 2_000,
  /** How long migrations, and the start of the queue, may take. */
  migrateMs: 60_000,
  /** Deliveries of one job, crashes and restarts included. */
  jobDeliveries: 50,
  jobMaxSeconds: 24 * 3600,
  progressGapMs: 250,
  /** How long, and at most how far apart, the write that ends a job is tried while the database is away. */
  persistMs: 60_000,
  persistGapMs: 2_000,
  /** Bytes of a block that is written to a file at once; a file has two. */
  writeBytes: 1024 * 1024,
  /** Bytes of a file after which the disk is asked to take them. */
  syncBytes: 32 * 1024 * 1024,
  /** Bytes between two looks at the free space, and what must stay free. */
  spaceCheckBytes: 16 * 1024 * 1024,
  spaceReserveBytes: 64 * 1024 * 1024,
  /** Bytes per read of a stored file. */
  readBytes: 262_144,
  sweepMs: 30_000,
  /** Finished exports stay listed this long after their file is gone. */
  historyDays: 7,
  /** Earlier exports of a dataset that an estimate looks at. */
  measuredExports: 20,
  pageDefault: 50,
  pageMax: 200,
  /** Time that requests and jobs in flight get on SIGTERM. Container runtimes kill after 10 s. */
  drainMs: 8_000,
  readyCheckMs: 3_000,
  /** One look at the databases and the storage answers everybody for this long. */
  readyShareMs: 500,
  /** How long a database may be away at start. */
  startMs: 30_000,
  seedBatchRows: 250_000
} as const

/** Reads `name`; an empty variable counts as unset, since compose files pass empty ones on. */
const text = (name: string) =>
  Config.option(Config.string(name)).pipe(
    Config.map((value) => (value._tag === "Some" && value.value !== "" ? value.value : undefined))
  )

const setting = <A>(name: string, fallback: A, allowed: string, parse: (value: string) => A | undefined): Config.Config<A> =>
  text(name).pipe(
    Config.mapOrFail((value) => {
      const parsed = value === undefined ? fallback : parse(value)
      return parsed === undefined
        ? Either.left(ConfigError.InvalidData([name], `${name}=${JSON.stringify(value)} is not allowed: ${allowed}`))
        : Either.right(parsed)
    })
  )

const integer = (name: string, fallback: number, min: number, max: number) =>
  setting(name, fallback, `a whole number from ${min} to ${max}`, (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
    return number >= min && number <= max ? number : undefined
  })

const hostName = (name: string, fallback: string) =>
  setting(name, fallback, "a host name or an address", (value) => (/^[\w.:-]+$/.test(value) ? value : undefined))

const oneOf = <A extends string>(name: string, fallback: A, choices: ReadonlyArray<A>) =>
  setting(name, fallback, `one of ${choices.join(", ")}`, (value) => choices.find((choice) => choice === value.toLowerCase()))

const duration = (name: string, fallback: string, min: Duration.DurationInput, max: Duration.DurationInput) => {
  const parse = (value: string) => {
    const parsed = Duration.decodeUnknown(/^\d+$/.test(value) ? `${value} seconds` : value)
    return parsed._tag === "Some" && Duration.between(parsed.value, { minimum: min, maximum: max }) ? parsed.value : undefined
  }
  return setting(
    name,
    parse(fallback)!,
    `a time such as "${fallback}", from ${Duration.format(min)} to ${Duration.format(max)}`,
    parse
  )
}

/** A bare % in a password makes every client throw, long after the start. */
const isDecodable = ({ username, password, pathname }: URL) => {
  try {
    decodeURIComponent(username + password + pathname)
    return true
  } catch {
    return false
  }
}

/** A URL holds a password: a wrong one is refused without being shown. */
const databaseUrl = (name: string) =>
  text(name).pipe(
    Config.mapOrFail((value) => {
      if (value === undefined) return Either.right(undefined)
      const url = URL.canParse(value) ? new URL(value) : undefined
      return url && /^postgres(ql)?:$/.test(url.protocol) && url.pathname.length > 1 && isDecodable(url)
        ? Either.right(Redacted.make(value))
        : Either.left(
            ConfigError.InvalidData(
              [name],
              `${name} (value not shown) is not allowed: a URL such as postgres://user:password@host:5432/database`
            )
          )
    })
  )

/** DATABASE_URL wins; DB_HOST (with DB_PORT, DB_USER, DB_PASSWORD, DB_NAME) is the long form of it. */
const database = Config.all({
  url: databaseUrl("DATABASE_URL"),
  host: hostName("DB_HOST", ""),
  port: integer("DB_PORT", 5432, 1, 65_535),
  user: text("DB_USER"),
  password: text("DB_PASSWORD"),
  name: text("DB_NAME")
}).pipe(
  Config.map(({ url, host, port, user, password, name }) => {
    if (url || !(host || user || password || name)) return url
    const address = host.includes(":") ? `[${host}]` : host || "localhost"
    const secret = [user ?? "postgres", password ?? ""].map(encodeURIComponent).join(":")
    return Redacted.make(`postgres://${secret}@${address}:${port}/${encodeURIComponent(name ?? "postgres")}`)
  })
)

const settings = Config.all({
  host: hostName("HOST", "127.0.0.1"),
  apiPort: integer("API_PORT", 8080, 0, 65_535),
  explicitPort: integer("PORT", -1, 0, 65_535),
  dataDir: setting("DATA_DIR", ".data", "a directory", (value) => (value.includes("\0") ? undefined : value)),
  database,
  source: databaseUrl("SOURCE_DATABASE_URL"),
  seedRows: integer("SEED_ROWS", -1, 0, 1_000_000_000),
  storagePath: text("EXPORT_STORAGE_PATH"),
  batchSize: integer("BATCH_SIZE", 1_000, 1, 100_000),
  chunkSize: integer("CHUNK_SIZE", 65_536, 1_024, 1_048_576),
  maxConcurrentExports: integer("MAX_CONCURRENT_EXPORTS", 3, 1, 64),
  exportParallelism: integer("EXPORT_PARALLELISM", 2, 1, 16),
  datasets: setting<ReadonlyArray<AllowedRelation> | null>(
    "EXPORT_DATASETS",
    null,
    'relations such as public.orders,reporting.*,sales."Odd Name"',
    parseAllowList
  ),
  datasetsFile: text("DATASETS_FILE"),
  exportSource: oneOf("EXPORT_SOURCE", "copy", ["copy", "cursor"]),
  streamLookahead: integer("STREAM_LOOKAHEAD", 16_777_216, 0, 1_073_741_824),
  maxSourceConnections: integer("MAX_SOURCE_CONNECTIONS", 64, 1, 1_000),
  exportTtl: duration("EXPORT_TTL", "24 hours", "1 second", "365 days"),
  rateLimitMax: integer("RATE_LIMIT_MAX", 60, 1, 10_000),
  rateLimitWindow: duration("RATE_LIMIT_WINDOW", "1 minute", "1 second", "1 day"),
  gzipLevel: integer("GZIP_LEVEL", 2, 1, 9),
  logLevel: oneOf("LOG_LEVEL", "info", ["debug", "info", "warning", "error", "none"]),
  logFormat: oneOf("LOG_FORMAT", process.stdout.isTTY ? "pretty" : "json", ["json", "pretty"])
}).pipe(
  Config.map(({ apiPort, explicitPort, seedRows, datasets, dataDir, storagePath, logLevel, ...rest }) => ({
    ...rest,
    port: explicitPort === -1 ? apiPort : explicitPort,
    /** -1: not set, and the database decides: 1,000,000 in the embedded one, else none. */
    seedRows: seedRows === -1 ? (rest.database ? 0 : 1_000_000) : seedRows,
    /** What may be exported. Of a database of somebody's own nothing that nobody named: the demo is all by default. */
    exportDatasets: datasets ?? (!rest.source && (!rest.database || seedRows > 0) ? [users] : []),
    dataDir: resolve(dataDir),
    storagePath: resolve(storagePath ?? join(dataDir, "exports")),
    logLevel: LogLevel.fromLiteral(
      ({ debug: "Debug", info: "Info", warning: "Warning", error: "Error", none: "None" } as const)[logLevel]
    )
  }))
)

/** Every setting of the service, read and validated once. Fails with one line that names each wrong variable. */
export class AppConfig extends Effect.Service<AppConfig>()("AppConfig", { effect: settings }) {}

/** The databases in use, once it is known whether one is embedded. */
export class Databases extends Context.Tag("Databases")<
  Databases,
  { readonly control: Redacted.Redacted; readonly source: Redacted.Redacted }
>() {}

/** The wrong variables of a ConfigError, in one line for the operator. */
export const describeConfigError = (error: ConfigError.ConfigError): string => {
  switch (error._op) {
    case "And":
    case "Or":
      return `${describeConfigError(error.left)}; ${describeConfigError(error.right)}`
    default:
      return error.message
  }
}
