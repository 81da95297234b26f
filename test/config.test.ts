import { describe, expect, test } from "bun:test"
import { Duration, Effect, Either, LogLevel, Redacted } from "effect"
import { join, resolve } from "node:path"
import { limits } from "../src/limits.ts"
import { AppConfig, describeConfigError } from "../src/config.ts"
import { settings } from "./support/effect.ts"
import { serverBundle } from "./support/shared-service.ts"

type Variables = Readonly<Record<string, string>>
type Setting = Exclude<keyof AppConfig, "_tag">

const read = (variables: Variables) => Effect.runSync(Effect.either(AppConfig.pipe(Effect.provide(settings(variables)))))
const good = (variables: Variables): AppConfig => Either.getOrThrowWith(read(variables), describeConfigError)
const complaint = (variables: Variables): string => {
  const result = read(variables)
  return Either.isLeft(result) ? describeConfigError(result.left) : ""
}
/** A setting as a plain value: secrets shown, durations in milliseconds. */
const plain = (config: AppConfig, setting: Setting): unknown => {
  const value = config[setting]
  if (Redacted.isRedacted(value)) return Redacted.value(value)
  return Duration.isDuration(value) ? Duration.toMillis(value) : value
}

interface Row {
  readonly setting: Setting
  readonly fallback: unknown
  readonly good: ReadonlyArray<readonly [string, unknown]>
  readonly bad?: ReadonlyArray<string>
  /** What a complaint says is allowed. */
  readonly allowed?: string
}
const never = ["abc", "-1", "1.5", "1e3", " 1", "0x10", "１", "NaN", "Infinity", "9".repeat(30)]
const integer = (setting: Setting, fallback: number, min: number, max: number): Row => ({
  setting,
  fallback,
  good: [min, max].map((value) => [String(value), value]),
  bad: [...never, String(max + 1), ...(min > 0 ? [String(min - 1)] : [])],
  allowed: `a whole number from ${min} to ${max}`
})
const duration = (setting: Setting, fallback: string, max: string, ms: number): Row => ({
  setting,
  fallback: ms,
  good: [
    ["90 minutes", 5_400_000],
    ["1 second", 1_000],
    ["45", 45_000],
    [max, Duration.toMillis(Duration.decode(max as Duration.DurationInput))]
  ],
  bad: [
    "soon",
    "0 seconds",
    "0",
    "999 millis",
    "-5 seconds",
    "5 fortnights",
    "Infinity",
    "NaN seconds",
    "400 days",
    "9".repeat(30)
  ],
  allowed: `a time such as "${fallback}", from 1 second to `
})

const table: Readonly<Record<string, Row>> = {
  HOST: {
    setting: "host",
    fallback: "127.0.0.1",
    good: ["0.0.0.0", "::1", "db-1.internal"].map((value) => [value, value]),
    bad: ["a b", "http://host", "host/path", "a\nb"],
    allowed: "a host name or an address"
  },
  PORT: integer("port", 8080, 0, 65_535),
  API_PORT: integer("port", 8080, 0, 65_535),
  ALLOWED_HOSTS: {
    setting: "allowedHosts",
    fallback: [],
    good: [
      ["*", ["*"]],
      ["sluice.example.com, Intern:8080,10.1.2.3:80", ["sluice.example.com", "Intern", "10.1.2.3"]],
      ["[fd00::1]:8080,::1", ["[fd00::1]", "::1"]]
    ],
    bad: ["http://host", "host/path", "a b", "a,,b", "a,", "*.example.com", "host:port", "[::1", "user@host"],
    allowed: "host names and addresses with commas between, such as sluice.example.com, or *"
  },
  CORS_ORIGINS: {
    setting: "corsOrigins",
    fallback: [],
    good: [
      ["https://app.example.com", ["https://app.example.com"]],
      ["http://localhost:3000, HTTPS://App.example.com:443", ["http://localhost:3000", "https://app.example.com"]]
    ],
    bad: [
      "*",
      "null",
      "app.example.com",
      "https://",
      "https://a/",
      "https://a/path",
      "https://u@a",
      "https://a?b",
      "ftp://a",
      "https://a,"
    ],
    allowed: "origins with commas between, such as https://app.example.com"
  },
  DATA_DIR: {
    setting: "dataDir",
    fallback: resolve(".data"),
    good: [
      ["/var/sluice", "/var/sluice"],
      ["state", resolve("state")]
    ]
  },
  EXPORT_STORAGE_PATH: {
    setting: "storagePath",
    fallback: resolve(".data/exports"),
    good: [
      ["/mnt/exports", "/mnt/exports"],
      ["files", resolve("files")]
    ]
  },
  SEED_ROWS: integer("seedRows", 1_000_000, 0, 1_000_000_000),
  BATCH_SIZE: integer("batchSize", 1_000, 1, 100_000),
  CHUNK_SIZE: integer("chunkSize", 65_536, 1_024, 1_048_576),
  MAX_CONCURRENT_EXPORTS: integer("maxConcurrentExports", 3, 1, 64),
  EXPORT_PARALLELISM: integer("exportParallelism", 2, 1, 16),
  EXPORT_DATASETS: {
    setting: "exportDatasets",
    fallback: [{ schema: "public", table: "users" }],
    good: [
      ["public.orders", [{ schema: "public", table: "orders" }]],
      ["reporting.*", [{ schema: "reporting", table: undefined }]]
    ],
    bad: ["orders", "public.orders,", "*.*"],
    allowed: 'relations, each with its schema, such as public.orders,reporting.*,sales."Odd Name"'
  },
  EXPORT_SOURCE: {
    setting: "exportSource",
    fallback: "copy",
    good: [
      ["copy", "copy"],
      ["Cursor", "cursor"]
    ],
    bad: ["select", "auto"],
    allowed: "one of copy, cursor"
  },
  STREAM_LOOKAHEAD: integer("streamLookahead", 16_777_216, 0, 1_073_741_824),
  MAX_SOURCE_CONNECTIONS: integer("maxSourceConnections", 64, 1, 1_000),
  SOURCE_OUTAGE: duration("sourceOutage", "15 minutes", "12 hours", 15 * 60_000),
  QUEUE_LIMIT: integer("queueLimit", 10_000, 1, 1_000_000),
  EXPORT_TTL: duration("exportTtl", "24 hours", "365 days", 24 * 3_600_000),
  RATE_LIMIT_MAX: integer("rateLimitMax", 60, 1, 10_000),
  RATE_LIMIT_WINDOW: duration("rateLimitWindow", "1 minute", "1 day", 60_000),
  STREAMS_PER_KEY: integer("streamsPerKey", 16, 1, 1_000),
  STREAM_MAX_TIME: duration("streamMaxTime", "6 hours", "7 days", 6 * 3_600_000),
  GZIP_LEVEL: integer("gzipLevel", 2, 1, 9),
  LOG_LEVEL: {
    setting: "logLevel",
    fallback: LogLevel.Info,
    good: [
      ["debug", LogLevel.Debug],
      ["WARNING", LogLevel.Warning],
      ["error", LogLevel.Error],
      ["none", LogLevel.None]
    ],
    bad: ["loud", "infos", "1"],
    allowed: "one of debug, info, warning, error, none"
  },
  LOG_FORMAT: {
    setting: "logFormat",
    fallback: process.stdout.isTTY ? "pretty" : "json",
    good: [
      ["pretty", "pretty"],
      ["json", "json"],
      ["JSON", "json"]
    ],
    bad: ["xml", "text"],
    allowed: "one of json, pretty"
  },
  DATABASE_URL: {
    setting: "database",
    fallback: undefined,
    good: ["postgres://u:p@h/d", "postgresql://h:5433/d?sslmode=require"].map((url) => [url, url])
  },
  SOURCE_DATABASE_URL: { setting: "source", fallback: undefined, good: [["postgres://u:p@h/d", "postgres://u:p@h/d"]] }
}

test("the longest SOURCE_OUTAGE leaves a job as long again before the queue hands it out to another worker", () => {
  expect(2 * Duration.toSeconds(limits.sourceOutageMax)).toBeLessThanOrEqual(limits.jobMaxSeconds)
})

describe.each(Object.entries(table))("%s", (variable, { setting, fallback, good: values, bad = [], allowed = "" }) => {
  test("has its default, also when it is empty", () => {
    expect(plain(good({}), setting)).toEqual(fallback)
    expect(plain(good({ [variable]: "" }), setting)).toEqual(fallback)
  })
  test.each(values.map((pair) => [...pair] as const))("%j is read", (value, expected) => {
    expect(plain(good({ [variable]: value }), setting)).toEqual(expected)
  })
  if (bad.length > 0) {
    test.each(bad.map((value) => [value]))("%j is refused in one line that says what is allowed", (value) => {
      const line = complaint({ [variable]: value })
      expect(line).toStartWith(`${variable}=${JSON.stringify(value)} is not allowed: `)
      expect(line).toContain(allowed)
      expect(line).not.toContain("\n")
    })
  }
})

test("PORT wins over API_PORT", () => {
  expect(good({ API_PORT: "9001" }).port).toBe(9001)
  expect(good({ PORT: "9002", API_PORT: "9001" }).port).toBe(9002)
  expect(good({ PORT: "0", API_PORT: "9001" }).port).toBe(0)
})

test("export files go under the data directory", () => {
  expect(good({ DATA_DIR: "/srv/sluice" }).storagePath).toBe("/srv/sluice/exports")
  expect(good({ DATA_DIR: "/srv/sluice", EXPORT_STORAGE_PATH: "/mnt/x" }).storagePath).toBe("/mnt/x")
})

test("of a database of somebody's own nothing may be exported that was not named", () => {
  const DATABASE_URL = "postgres://h/d"
  const users = [{ schema: "public", table: "users" }]
  expect(good({}).exportDatasets).toEqual(users)
  expect(good({ DATABASE_URL, SEED_ROWS: "5" }).exportDatasets).toEqual(users)
  for (const own of [
    { DATABASE_URL },
    { SOURCE_DATABASE_URL: DATABASE_URL },
    { DATABASE_URL, SOURCE_DATABASE_URL: DATABASE_URL, SEED_ROWS: "5" }
  ])
    expect(good(own).exportDatasets).toEqual([])
  expect(good({ DATABASE_URL, EXPORT_DATASETS: "public.users" }).exportDatasets).toEqual(users)
})

test("demo rows are loaded into the embedded database only, unless asked for", () => {
  const DATABASE_URL = "postgres://h/d"
  expect(good({}).seedRows).toBe(1_000_000)
  expect(good({ SEED_ROWS: "0" }).seedRows).toBe(0)
  expect(good({ DATABASE_URL }).seedRows).toBe(0)
  expect(good({ DB_HOST: "h" }).seedRows).toBe(0)
  expect(good({ DATABASE_URL, SEED_ROWS: "5" }).seedRows).toBe(5)
})

describe("the long form of DATABASE_URL", () => {
  test.each<[Variables, string]>([
    [{ DB_HOST: "db" }, "postgres://postgres:@db:5432/postgres"],
    [{ DB_HOST: "db", DB_PORT: "6432", DB_USER: "app", DB_PASSWORD: "s", DB_NAME: "shop" }, "postgres://app:s@db:6432/shop"],
    [{ DB_HOST: "::1", DB_NAME: "d" }, "postgres://postgres:@[::1]:5432/d"],
    [{ DATABASE_URL: "postgres://h/d", DB_HOST: "other", DB_NAME: "x" }, "postgres://h/d"]
  ])("%j", (variables, url) => {
    expect(plain(good(variables), "database")).toBe(url)
  })
  test("takes any character in user, password and name", () => {
    const odd = "p@ss:w/rd?#%&+ ü'\""
    const url = new URL(String(plain(good({ DB_HOST: "db", DB_USER: odd, DB_PASSWORD: odd, DB_NAME: odd }), "database")))
    expect([url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent)).toEqual([odd, odd, odd])
    expect(url.host).toBe("db:5432")
  })
  test("is refused with the variable, the value and what is allowed", () => {
    for (const DB_PORT of ["0", "65536", "abc"]) {
      expect(complaint({ DB_HOST: "db", DB_PORT })).toBe(`DB_PORT="${DB_PORT}" is not allowed: a whole number from 1 to 65535`)
    }
    for (const DB_HOST of ["a b", "a/b", "a@b", "a?b"]) {
      expect(complaint({ DB_HOST })).toBe(`DB_HOST="${DB_HOST}" is not allowed: a host name or an address`)
    }
  })
})

const SECRET = "hunter2secret"
const badUrls = [
  `mysql://u:${SECRET}@h/d`,
  `http://u:${SECRET}@h/d`,
  `postgres://u:${SECRET}@h`,
  `postgres://u:${SECRET}@h/`,
  `postgres://u:${SECRET}@h:port/d`,
  `postgres://u:${SECRET}@h:99999/d`,
  // Clients decode it, and would throw at each attempt to connect.
  `postgres://u:${SECRET}%@h/d`,
  `u:${SECRET}@h/d`,
  SECRET
]
describe("a secret is never shown", () => {
  test.each(["DATABASE_URL", "SOURCE_DATABASE_URL"].flatMap((name) => badUrls.map((url) => [name, url] as const)))(
    "%s=%s",
    (name, url) => {
      const line = complaint({ [name]: url })
      expect(line).toStartWith(`${name} `)
      expect(line).toContain("postgres://user:password@host:5432/database")
      expect(line).not.toContain(SECRET)
      expect(line).not.toContain("\n")
    }
  )
  test("not by a wrong neighbour of DB_PASSWORD", () => {
    expect(complaint({ DB_HOST: "a b", DB_PORT: "x", DB_PASSWORD: SECRET })).not.toContain(SECRET)
  })
  test("not by printing the settings", () => {
    const config = good({ DATABASE_URL: `postgres://u:${SECRET}@h/d`, SOURCE_DATABASE_URL: `postgres://u:${SECRET}@h/d` })
    for (const shown of [JSON.stringify(config), Bun.inspect(config)]) expect(shown).not.toContain(SECRET)
  })
})

test("several wrong variables are all named, in one line", () => {
  const wrong = Object.entries(table).flatMap(([variable, { bad }]) => (bad ? [[variable, bad[0]!] as const] : []))
  const all = { ...Object.fromEntries(wrong), SOURCE_DATABASE_URL: "x", DB_HOST: "a b", DB_PORT: "0" }
  const line = complaint(all)
  for (const variable of Object.keys(all)) expect(line).toContain(variable)
  expect(line).not.toContain("\n")
})

test("the process stops with that one line and exit code 1", async () => {
  const bundle = await serverBundle()
  const child = Bun.spawn([process.execPath, bundle], {
    cwd: join(import.meta.dir, ".."),
    env: { PATH: process.env["PATH"], PORT: "http", BATCH_SIZE: "0", DATABASE_URL: `mysql://u:${SECRET}@h/d` },
    stdout: "pipe",
    stderr: "pipe"
  })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  expect(code).toBe(1)
  expect(stdout).toBe("")
  const lines = stderr.trimEnd().split("\n")
  expect(lines).toHaveLength(1)
  for (const said of ["PORT", '"http"', "BATCH_SIZE", '"0"', "DATABASE_URL", "not allowed"]) expect(lines[0]).toContain(said)
  expect(lines[0]).not.toContain(SECRET)
})
