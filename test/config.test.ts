import { describe, expect, test } from "bun:test"
import { Duration, Effect, Either, LogLevel, Redacted } from "effect"
import { join, resolve } from "node:path"
import { AppConfig, describeConfigError } from "../src/config.ts"
import { settings as allSettings, type Setting } from "../src/settings.ts"
import { settings } from "./support/effect.ts"
import { serverBundle } from "./support/shared-service.ts"
import { envExample, readDocuments, readmeTable, withTable } from "./support/settings-documents.ts"

type Variables = Readonly<Record<string, string>>
type Key = Exclude<keyof AppConfig, "_tag">

const read = (variables: Variables) => Effect.runSync(Effect.either(AppConfig.pipe(Effect.provide(settings(variables)))))
const good = (variables: Variables): AppConfig => Either.getOrThrowWith(read(variables), describeConfigError)
const complaint = (variables: Variables): string => {
  const result = read(variables)
  return Either.isLeft(result) ? describeConfigError(result.left) : ""
}
/** A setting as a plain value: secrets shown, durations in milliseconds. */
const plain = (config: AppConfig, key: Key): unknown => {
  const value = config[key]
  if (Redacted.isRedacted(value)) return Redacted.value(value)
  return Duration.isDuration(value) ? Duration.toMillis(value) : value
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Each variable: its setting, its default, and values with what they are read as; numbers and times at both ends. */
const table: ReadonlyArray<readonly [string, Key, unknown, Readonly<Record<string, unknown>>]> = [
  ["HOST", "host", "127.0.0.1", { "0.0.0.0": "0.0.0.0" }],
  ["PORT", "port", 8080, { "0": 0, "65535": 65_535 }],
  ["API_PORT", "port", 8080, { "0": 0, "65535": 65_535 }],
  ["ALLOWED_HOSTS", "allowedHosts", [], { "*": ["*"], "a.example.com, b:80": ["a.example.com", "b"] }],
  ["CORS_ORIGINS", "corsOrigins", [], { "https://a.example.com": ["https://a.example.com"] }],
  ["DATABASE_URL", "database", undefined, { "postgres://u:p@h/d": "postgres://u:p@h/d" }],
  ["SOURCE_DATABASE_URL", "source", undefined, { "postgres://u:p@h/d": "postgres://u:p@h/d" }],
  ["SEED_ROWS", "seedRows", 1_000_000, { "0": 0, "1000000000": 1_000_000_000 }],
  ["DATA_DIR", "dataDir", resolve(".data"), { "/var/sluice": "/var/sluice", state: resolve("state") }],
  ["EXPORT_STORAGE_PATH", "storagePath", resolve(".data/exports"), { "/mnt/x": "/mnt/x", files: resolve("files") }],
  ["EXPORT_DATASETS", "exportDatasets", undefined, { "public.orders": [{ schema: "public", table: "orders" }] }],
  ["DATASETS_FILE", "datasetsFile", undefined, { "a.json": "a.json" }],
  ["EXPORT_SOURCE", "exportSource", "copy", { copy: "copy", Cursor: "cursor" }],
  ["BATCH_SIZE", "batchSize", 1_000, { "1": 1, "100000": 100_000 }],
  ["CHUNK_SIZE", "chunkSize", 65_536, { "1024": 1_024, "1048576": 1_048_576 }],
  ["MAX_CONCURRENT_EXPORTS", "maxConcurrentExports", 3, { "1": 1, "64": 64 }],
  ["EXPORT_PARALLELISM", "exportParallelism", 2, { "1": 1, "16": 16 }],
  ["STREAM_LOOKAHEAD", "streamLookahead", 16_777_216, { "0": 0, "1073741824": 1_073_741_824 }],
  ["MAX_SOURCE_CONNECTIONS", "maxSourceConnections", 64, { "1": 1, "1000": 1_000 }],
  ["SOURCE_OUTAGE", "sourceOutage", 15 * MINUTE, { "1 second": SECOND, "12 hours": 12 * HOUR }],
  ["QUEUE_LIMIT", "queueLimit", 10_000, { "1": 1, "1000000": 1_000_000 }],
  ["EXPORT_TTL", "exportTtl", 24 * HOUR, { "1 second": SECOND, "365 days": 365 * DAY }],
  ["RATE_LIMIT_MAX", "rateLimitMax", 60, { "1": 1, "10000": 10_000 }],
  ["RATE_LIMIT_WINDOW", "rateLimitWindow", MINUTE, { "1 second": SECOND, "1 day": DAY }],
  ["STREAMS_PER_KEY", "streamsPerKey", 16, { "1": 1, "1000": 1_000 }],
  ["STREAM_MAX_TIME", "streamMaxTime", 6 * HOUR, { "1 second": SECOND, "7 days": 7 * DAY }],
  ["GZIP_LEVEL", "gzipLevel", 2, { "1": 1, "9": 9 }],
  ["LOG_LEVEL", "logLevel", LogLevel.Info, { debug: LogLevel.Debug, WARNING: LogLevel.Warning, none: LogLevel.None }],
  ["LOG_FORMAT", "logFormat", process.stdout.isTTY ? "pretty" : "json", { pretty: "pretty", JSON: "json" }]
]
const namesOf = ({ name, alias }: Setting) => (alias === undefined ? [name] : [name, alias])
const all = Object.values<Setting>(allSettings)

/** Values just outside those that the table allows, or of no such kind. */
const outside = (values: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [least, most] = values.map(Number)
  if (least !== undefined && most !== undefined && Number.isInteger(most)) return [String(least - 1), String(most + 1), "1e3"]
  return /second/.test(values[0]!) ? ["999 millis", "0", "366 days"] : []
}

describe("a variable has its default, also when it is empty, and is read from its least to its greatest value", () => {
  test.each(table)("%s sets %s", (variable, key, fallback, values) => {
    expect(plain(good({}), key)).toEqual(fallback)
    expect(plain(good({ [variable]: "" }), key)).toEqual(fallback)
    for (const [value, expected] of Object.entries(values)) expect(plain(good({ [variable]: value }), key)).toEqual(expected)
    for (const value of outside(Object.keys(values)))
      expect(complaint({ [variable]: value })).toStartWith(`${variable}=${JSON.stringify(value)} is not allowed: `)
  })

  test("the table has every variable but the parts of DATABASE_URL", () => {
    const parts = ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME"]
    expect([...table.map(([variable]) => variable), ...parts].toSorted()).toEqual(all.flatMap(namesOf).toSorted())
  })
})

describe("the settings are documented", () => {
  test(".env.example and README's table are those that `bun run settings` makes", async () => {
    const { readme, env } = await readDocuments()
    expect(env).toBe(envExample())
    expect(readme).toBe(withTable(readme))
    for (const name of all.flatMap(namesOf)) expect(readme).toContain(`\`${name}\``)
  })

  test("README's table has at most 5 KB, and README less than 14 KB", async () => {
    expect(Buffer.byteLength(readmeTable())).toBeLessThanOrEqual(5 * 1024)
    expect(Buffer.byteLength((await readDocuments()).readme)).toBeLessThan(14 * 1024)
  })

  test("the values of .env.example are allowed", () => {
    const lines = envExample().matchAll(/^#([A-Z_]+)=(.*)$/gm)
    expect(complaint(Object.fromEntries([...lines].map(([, name, value]) => [name, value])))).toBe("")
  })
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

test("the demo's table may be exported without being named only from the database that the demo is loaded into", () => {
  const DATABASE_URL = "postgres://h/d"
  expect(good({}).hasDemo).toBe(true)
  expect(good({ DATABASE_URL, SEED_ROWS: "5" }).hasDemo).toBe(true)
  for (const own of [
    { DATABASE_URL },
    { DATABASE_URL, SEED_ROWS: "0" },
    { SOURCE_DATABASE_URL: DATABASE_URL },
    { DATABASE_URL, SOURCE_DATABASE_URL: DATABASE_URL, SEED_ROWS: "5" }
  ])
    expect(good(own).hasDemo).toBe(false)
})

test("demo rows are loaded into the embedded database only, unless asked for", () => {
  const DATABASE_URL = "postgres://h/d"
  expect(good({}).seedRows).toBe(1_000_000)
  expect(good({ SEED_ROWS: "0" }).seedRows).toBe(0)
  expect(good({ DATABASE_URL }).seedRows).toBe(0)
  expect(good({ DB_HOST: "h" }).seedRows).toBe(0)
  expect(good({ DATABASE_URL, SEED_ROWS: "5" }).seedRows).toBe(5)
})

describe("the parts of DATABASE_URL", () => {
  test.each<[Variables, string]>([
    [{ DB_HOST: "db" }, "postgres://postgres:@db:5432/postgres"],
    [{ DB_HOST: "db", DB_PORT: "6432", DB_USER: "app", DB_PASSWORD: "s", DB_NAME: "shop" }, "postgres://app:s@db:6432/shop"],
    [{ DB_HOST: "::1", DB_NAME: "d" }, "postgres://postgres:@[::1]:5432/d"],
    [{ DATABASE_URL: "postgres://h/d", DB_HOST: "other", DB_NAME: "x" }, "postgres://h/d"]
  ])("%j give its URL", (variables, url) => {
    expect(plain(good(variables), "database")).toBe(url)
  })
  test("may have any character in user, password and name", () => {
    const odd = "p@ss:w/rd?#%&+ ü'\""
    const url = new URL(String(plain(good({ DB_HOST: "db", DB_USER: odd, DB_PASSWORD: odd, DB_NAME: odd }), "database")))
    expect([url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent)).toEqual([odd, odd, odd])
    expect(url.host).toBe("db:5432")
  })
  test("are refused with the variable, the value and what is allowed", () => {
    for (const DB_PORT of ["0", "65536", "abc"]) {
      expect(complaint({ DB_HOST: "db", DB_PORT })).toBe(`DB_PORT="${DB_PORT}" is not allowed: a whole number from 1 to 65535`)
    }
    for (const DB_HOST of ["a b", "a/b", "a@b", "a?b"]) {
      expect(complaint({ DB_HOST })).toBe(`DB_HOST="${DB_HOST}" is not allowed: a host name or an address`)
    }
  })
})

const SECRET = "hunter2secret"
describe("a password is never shown", () => {
  test.each(["DATABASE_URL", "SOURCE_DATABASE_URL"])("by a wrong %s", (name) => {
    for (const url of [`mysql://u:${SECRET}@h/d`, `postgres://u:${SECRET}@h`, `postgres://u:${SECRET}%@h/d`, SECRET]) {
      const line = complaint({ [name]: url })
      expect(line).toStartWith(`${name} (value not shown) is not allowed: a URL such as postgres://user:password@host:5432/`)
      expect(line).not.toContain(SECRET)
    }
  })
  test("by a wrong neighbour of DB_PASSWORD", () => {
    expect(complaint({ DB_HOST: "a b", DB_PORT: "x", DB_PASSWORD: SECRET })).not.toContain(SECRET)
  })
  test("by the settings when they are printed", () => {
    const url = `postgres://u:${SECRET}@h/d`
    for (const config of [good({ DATABASE_URL: url, SOURCE_DATABASE_URL: url }), good({ DB_HOST: "h", DB_PASSWORD: SECRET })])
      for (const shown of [JSON.stringify(config), Bun.inspect(config)]) expect(shown).not.toContain(SECRET)
  })
})

test("several wrong variables are all named, in one line", () => {
  const wrong = all.filter(({ kind }) => kind.parse("a\nb") === undefined).flatMap(namesOf)
  const line = complaint(Object.fromEntries(wrong.map((name) => [name, "a\nb"])))
  expect(wrong.length).toBeGreaterThan(20)
  for (const name of wrong) expect(line).toMatch(new RegExp(`\\b${name}(=| \\(value not shown\\))`))
  expect(line).not.toContain("\n")
})

test("wrong settings stop the process with one line that names them, and exit code 1", async () => {
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
