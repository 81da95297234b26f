/** The settings, read from the environment and validated once, at start. */
import { join, resolve } from "node:path"
import { Config, ConfigError, Context, Effect, Either, LogLevel, Redacted } from "effect"
import type { Kind } from "./setting-kinds.ts"
import { settings, type Setting } from "./settings.ts"

const refusal = (name: string, value: string, { allowed, wrongSecret }: Kind<unknown>): string =>
  wrongSecret
    ? `${name} (value not shown) is not allowed: ${allowed}; ${wrongSecret(value)}`
    : `${name}=${JSON.stringify(value)} is not allowed: ${allowed}`

/** Reads one variable; an empty one counts as unset, since compose files pass empty variables on. */
const readVariable = <A>(name: string, kind: Kind<A>): Config.Config<A | undefined> =>
  Config.option(Config.string(name)).pipe(
    Config.mapOrFail((option) => {
      if (option._tag === "None" || option.value === "") return Either.right(undefined)
      const parsed = kind.parse(option.value)
      return parsed === undefined
        ? Either.left(ConfigError.InvalidData([name], refusal(name, option.value, kind)))
        : Either.right(parsed)
    })
  )

type Value<S extends Setting> = S extends Setting<infer A> ? (S extends { readonly default: string } ? A : A | undefined) : never

const readSetting = <S extends Setting>({ name, alias, kind, default: fallback }: S): Config.Config<Value<S>> =>
  Config.all([readVariable(name, kind), ...(alias === undefined ? [] : [readVariable(alias, kind)])]).pipe(
    Config.map((values) => (values.find((value) => value !== undefined) ?? (fallback && kind.parse(fallback))) as Value<S>)
  )

type Settings = typeof settings
type Values = { readonly [K in keyof Settings]: Value<Settings[K]> }
const readSettings = Config.all(
  Object.fromEntries(Object.entries<Setting>(settings).map(([key, setting]) => [key, readSetting(setting)]))
) as Config.Config<Values>

/** DATABASE_URL wins; DB_HOST (with DB_PORT, DB_USER, DB_PASSWORD, DB_NAME) is the long form of it. */
const toDatabase = ({
  databaseUrl,
  dbHost,
  dbPort,
  dbUser,
  dbPassword,
  dbName
}: Pick<Values, "databaseUrl" | "dbHost" | "dbPort" | "dbUser" | "dbPassword" | "dbName">): Redacted.Redacted | undefined => {
  if (databaseUrl || !(dbHost || dbUser || dbPassword || dbName)) return databaseUrl
  const address = dbHost?.includes(":") ? `[${dbHost}]` : (dbHost ?? "localhost")
  const secret = [dbUser ?? "postgres", dbPassword ?? ""].map(encodeURIComponent).join(":")
  return Redacted.make(`postgres://${secret}@${address}:${dbPort}/${encodeURIComponent(dbName ?? "postgres")}`)
}

const logLevels = { debug: "Debug", info: "Info", warning: "Warning", error: "Error", none: "None" } as const

const config = readSettings.pipe(
  Config.map(({ databaseUrl, dbHost, dbPort, dbUser, dbPassword, dbName, datasets, ...rest }) => {
    const database = toDatabase({ databaseUrl, dbHost, dbPort, dbUser, dbPassword, dbName })
    return {
      ...rest,
      allowedHosts: rest.allowedHosts ?? [],
      corsOrigins: rest.corsOrigins ?? [],
      database,
      /** The database decides where nothing is set: 1,000,000 in the embedded one, else none. */
      seedRows: rest.seedRows ?? (database ? 0 : 1_000_000),
      /** What may be exported; undefined when nobody named it. */
      exportDatasets: datasets,
      /** Rows are read where the demo is. Then its table may be exported without being named. */
      hasDemo: !rest.source && (!database || (rest.seedRows ?? 0) > 0),
      dataDir: resolve(rest.dataDir),
      storagePath: resolve(rest.storagePath ?? join(rest.dataDir, "exports")),
      logLevel: LogLevel.fromLiteral(logLevels[rest.logLevel]),
      logFormat: rest.logFormat ?? (process.stdout.isTTY ? ("pretty" as const) : ("json" as const))
    }
  })
)

/** The validated settings. Fails with one line that names each wrong variable. */
export class AppConfig extends Effect.Service<AppConfig>()("AppConfig", { effect: config }) {}

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
