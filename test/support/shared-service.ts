/**
 * What the test files share: an embedded PostgreSQL, a template database with migrations and demo users, and a bundle of
 * the server. Each is made when it is first needed.
 */
import { seedUsers } from "../../src/postgres/demo-users.ts"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Logger, LogLevel, Scope } from "effect"
import postgres from "postgres"
import { inSingleUserMode, openCluster } from "../../src/embedded-postgres/cluster-files.ts"
import { startEmbeddedPostgres } from "../../src/embedded-postgres/embedded-postgres.ts"
import { migrateDatabase } from "../../src/postgres/migrate.ts"

const quiet = Logger.minimumLogLevel(LogLevel.Warning)
const TEMPLATE = "sluice_template"
/** The number of demo users in each test database. */
export const USERS = 50_000

let scope = Effect.runSync(Scope.make())
/** Runs an effect whose resources last until the end of the test run; of the test file, where several run at once. */
export const inScope = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))

/** Runs `make` when its result is first asked for. */
export const once = <A>(make: () => Promise<A>) => {
  let made: Promise<A> | undefined
  return () => (made ??= make())
}

/** Creates a directory that is removed at the end of the test run. */
export const temporaryDirectory = (): Promise<string> =>
  inScope(
    Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "sluice-test-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
  )

const withDatabase = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href

/** Returns the URL of the same database for the role that `makeSuperuser` creates. */
export const asSuperuser = (url: string) => Object.assign(new URL(url), { username: "tester", password: "in-no-message" }).href

/**
 * Creates a superuser in an embedded cluster that does not run. Tests create databases, end sessions of other roles, and
 * change settings of the server, which the roles of the service may not do.
 */
export const makeSuperuser = (dataDir: string) =>
  Effect.tap(openCluster(dataDir), (cluster) =>
    inSingleUserMode(cluster, "sluice", "create role tester superuser login password 'in-no-message';")
  )

/** Starts an embedded PostgreSQL, and returns the URL of an empty database for a superuser there. */
export const startServer = (dataDir: string) =>
  makeSuperuser(dataDir).pipe(
    Effect.zipRight(startEmbeddedPostgres(dataDir)),
    Effect.map(({ url }) => withDatabase(asSuperuser(url), "postgres"))
  )

const adminOf = (url: string) =>
  inScope(
    Effect.acquireRelease(
      Effect.sync(() => postgres(url, { max: 1, onnotice: () => {} })),
      (sql) => Effect.promise(() => sql.end({ timeout: 1 }))
    )
  )

/** A server with a template database. */
interface TestServer {
  readonly url: string
  readonly dataDir: string
}

/** What `parallel.ts` has prepared for the processes in which it runs the tests: a server for each, and the bundle. */
interface Prepared {
  readonly servers: ReadonlyArray<TestServer>
  readonly bundle: string
}
const PREPARED = "SLUICE_TEST_PREPARED"
const { [PREPARED]: given, JEST_WORKER_ID: worker = "1" } = process.env
const prepared = given === undefined ? undefined : (JSON.parse(given) as Prepared)

/** Starts a server, and makes the template database there. */
const makeServer = async (): Promise<TestServer> => {
  const dataDir = await temporaryDirectory()
  const url = await inScope(startServer(dataDir))
  const admin = await adminOf(url)
  // Nothing here has to outlast a crash of the machine.
  for (const setting of ["fsync", "full_page_writes", "synchronous_commit"])
    await admin.unsafe(`alter system set ${setting} = off`)
  await admin`select pg_reload_conf()`
  await admin.unsafe(`create database ${TEMPLATE}`)
  await Effect.runPromise(migrateDatabase(withDatabase(url, TEMPLATE)))
  // Each copy of the template is another database, and gives itself an id when its service starts.
  const made = postgres(withDatabase(url, TEMPLATE), { max: 1 })
  await made`delete from sluice.identity`
  await made.end()
  await Effect.runPromise(seedUsers(withDatabase(url, TEMPLATE), USERS).pipe(Effect.provide(quiet)))
  return { url, dataDir }
}

/** What `bun test` needs in its environment to run in `processes` processes. */
export const prepare = async (processes: number): Promise<Readonly<Record<string, string>>> => {
  const [bundle, ...servers] = await Promise.all([serverBundle(), ...Array.from({ length: processes }, makeServer)])
  return { [PREPARED]: JSON.stringify({ bundle, servers } satisfies Prepared) }
}

const makeTemplate = async () => {
  const server = prepared ? prepared.servers[Number(worker) - 1]! : await makeServer()
  return { ...server, admin: await adminOf(server.url) }
}
let template = once(makeTemplate)

/** Reads the log of the shared server. */
export const serverLog = async (): Promise<string> => readFile(join((await template()).dataDir, "postgres.log"), "utf8")

let databases = 0
/** Creates a database with the migrations and `USERS` demo users, and returns its URL. */
export const freshDatabase = async (): Promise<string> => {
  const { url, admin } = await template()
  const name = `test_${++databases}`
  await admin.unsafe(`create database ${name} template ${TEMPLATE}`)
  return withDatabase(url, name)
}

/** Makes a client of the database, which is closed at the end of the test run and keeps no idle connection until then. */
export const connect = (url: string, max = 4) =>
  inScope(
    Effect.acquireRelease(
      Effect.sync(() => postgres(url, { max, idle_timeout: 120, onnotice: () => {} })),
      (sql) => Effect.promise(() => sql.end({ timeout: 1 }))
    )
  )

/** The bundle that `bun run server` would run. */
export const serverBundle = once(async () => {
  if (prepared) return prepared.bundle
  const build = Bun.spawn([process.execPath, "run", "--silent", "build"], {
    cwd: join(import.meta.dir, "../.."),
    stdout: "ignore"
  })
  if ((await build.exited) !== 0) throw new Error("Cannot build the server")
  return join(import.meta.dir, "../../dist/main.js")
})

/** Releases what is in scope, and begins anew for a further file of tests. */
export const closeShared = async (): Promise<void> => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  scope = Effect.runSync(Scope.make())
  template = once(makeTemplate)
}
