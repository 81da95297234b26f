import { join, resolve } from "node:path"
import { Config, ConfigError, Context, Duration, Effect, Either, LogLevel, Redacted } from "effect"
import { limits } from "./limits.ts"
import { parseAllowList, type AllowedRelation } from "./datasets/allow-list.ts"
import { users } from "./datasets/users.ts"

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

/** Reads a list with commas between its items, each of which `parse` reads. */
const list = (name: string, allowed: string, parse: (item: string) => string | undefined) =>
  setting<ReadonlyArray<string>>(name, [], allowed, (value) => {
    const items = value.split(",").map((item) => parse(item.trim()))
    return items.every((item) => item !== undefined) ? items : undefined
  })

/** Returns a host name or an address, in brackets or not, without the port that may follow it. */
const hostOf = (item: string): string | undefined => {
  if (/^[\da-f.]*(?::[\da-f.]*){2,}$/i.test(item)) return item
  return /^(\*|[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.exec(item)?.[1]
}

/** Accepts an origin as browsers send it: scheme, host, and a port that is not the scheme's default. */
const originOf = (item: string): string | undefined =>
  /^https?:/i.test(item) && URL.canParse(item) && new URL(item).href === `${new URL(item).origin}/` && !item.endsWith("/")
    ? new URL(item).origin
    : undefined

const oneOf = <A extends string>(name: string, fallback: A, choices: ReadonlyArray<A>) =>
  setting(name, fallback, `one of ${choices.join(", ")}`, (value) => choices.find((choice) => choice === value.toLowerCase()))

const duration = (
  name: string,
  fallback: string,
  min: "1 second",
  max: typeof limits.sourceOutageMax | "1 day" | "7 days" | "365 days"
) => {
  const parse = (value: string) => {
    const parsed = Duration.decodeUnknown(/^\d+$/.test(value) ? `${value} seconds` : value)
    return parsed._tag === "Some" && Duration.between(parsed.value, { minimum: min, maximum: max }) ? parsed.value : undefined
  }
  return setting(name, parse(fallback)!, `a time such as "${fallback}", from ${min} to ${max}`, parse)
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

/** What is wrong with a database's URL, if something is. */
const wrongUrl = (value: string): string | undefined => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) return "it is none"
  if (url.pathname.length <= 1) return "it names no database"
  return isDecodable(url) ? undefined : "it has a % that begins no escape; one that stands for itself is %25"
}

/** A URL holds a password: a wrong one is refused without being shown. */
const databaseUrl = (name: string) =>
  text(name).pipe(
    Config.mapOrFail((value) => {
      if (value === undefined) return Either.right(undefined)
      const wrong = wrongUrl(value)
      const allowed = "a URL such as postgres://user:password@host:5432/database"
      return wrong === undefined
        ? Either.right(Redacted.make(value))
        : Either.left(ConfigError.InvalidData([name], `${name} (value not shown) is not allowed: ${allowed}; ${wrong}`))
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
  allowedHosts: list("ALLOWED_HOSTS", "host names and addresses with commas between, such as sluice.example.com, or *", hostOf),
  corsOrigins: list("CORS_ORIGINS", "origins with commas between, such as https://app.example.com", originOf),
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
    'relations, each with its schema, such as public.orders,reporting.*,sales."Odd Name"',
    parseAllowList
  ),
  datasetsFile: text("DATASETS_FILE"),
  exportSource: oneOf("EXPORT_SOURCE", "copy", ["copy", "cursor"]),
  streamLookahead: integer("STREAM_LOOKAHEAD", 16_777_216, 0, 1_073_741_824),
  maxSourceConnections: integer("MAX_SOURCE_CONNECTIONS", 64, 1, 1_000),
  sourceOutage: duration("SOURCE_OUTAGE", "15 minutes", "1 second", limits.sourceOutageMax),
  queueLimit: integer("QUEUE_LIMIT", 10_000, 1, 1_000_000),
  exportTtl: duration("EXPORT_TTL", "24 hours", "1 second", "365 days"),
  rateLimitMax: integer("RATE_LIMIT_MAX", 60, 1, 10_000),
  rateLimitWindow: duration("RATE_LIMIT_WINDOW", "1 minute", "1 second", "1 day"),
  streamsPerKey: integer("STREAMS_PER_KEY", 16, 1, 1_000),
  streamMaxTime: duration("STREAM_MAX_TIME", "6 hours", "1 second", "7 days"),
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

/** The databases in use, once it is known whether one is embedded. `id` is stored in the app database (`sluice.identity`). */
export class Databases extends Context.Tag("Databases")<
  Databases,
  { readonly app: Redacted.Redacted; readonly source: Redacted.Redacted; readonly id: string }
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
