// Manages the embedded cluster on disk: creates it the first time, hands it over to the user that PostgreSQL runs as, and
// prepares it by SQL while no server runs.
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { attempt, EmbeddedPostgresError, findAccount, findPrograms, isAlive, run, unless, type Account } from "./programs.ts"

export interface Cluster {
  readonly account: Account
  readonly postgres: string
  /** The data directory of PostgreSQL. */
  readonly path: string
}

/**
 * Returns the name by which a program of PostgreSQL, which is started in the cluster's directory, finds it. The program's
 * user need not be able to pass through the directories above, such as /root.
 */
export const dataDirectory = (path: string) => (process.platform === "linux" ? "/proc/self/cwd" : path)

/**
 * Executes SQL as the cluster's superuser, who cannot log in: PostgreSQL alone, without a server, reads it from its
 * standard input. A blank line after a semicolon ends a command; nothing of it is logged.
 */
export const inSingleUserMode = ({ account, postgres, path }: Cluster, database: string, sql: string) => {
  const settings = ["exit_on_error=on", "log_min_error_statement=panic"].flatMap((setting) => ["-c", setting])
  return run(account, path, [postgres, "--single", "-j", "-D", dataDirectory(path), ...settings, database], `${sql}\n\n`)
}

/** Builds a cluster with an empty database `sluice` in `scratch`, and moves it to `path` when it is complete. */
const create = (scratch: string, path: string, initdb: string, postgres: string, account: Account) =>
  Effect.gen(function* () {
    const made = join(scratch, "data")
    yield* attempt(`Cannot write to ${scratch}`, async () => {
      await mkdir(scratch, { mode: 0o700 })
      await mkdir(made, { mode: 0o700 })
    })
    const locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    // The password is known to nobody, and the first start removes it.
    const superuser = ["--username=sluice_admin", "--pwfile=/dev/stdin", "--auth=scram-sha-256"]
    if (account) yield* giveTo(account, scratch)
    yield* run(
      account,
      made,
      [initdb, "-D", dataDirectory(made), ...locale, ...superuser, "--no-instructions"],
      randomBytes(24).toString("hex")
    )
    yield* inSingleUserMode({ account, postgres, path: made }, "postgres", "create database sluice;")
    // Another service that started at the same moment may have created it already; then that cluster is used.
    yield* attempt(`Cannot create ${path}`, () => rename(made, path).catch(unless("ENOTEMPTY")))
  })

/** Makes the account the owner of a directory. With -h, a symbolic link that another user made in it does not change its target. */
const giveTo = ({ uid, gid }: NonNullable<Account>, path: string) => run(undefined, "/", ["chown", "-Rh", `${uid}:${gid}`, path])

/** Opens the cluster `<dataDir>/postgres`, and creates it the first time. A kill at any moment leaves a complete cluster or none. */
export const openCluster = (dataDir: string) =>
  Effect.gen(function* () {
    const account = yield* findAccount
    const { initdb, postgres } = yield* findPrograms(account)
    const path = join(dataDir, "postgres")
    const owner = yield* attempt(`Cannot use ${dataDir}`, async () => {
      await mkdir(dataDir, { recursive: true, mode: 0o700 })
      for (const name of await readdir(dataDir)) {
        const creator = Number(/^postgres\.new-(\d+)$/.exec(name)?.[1])
        if (!creator || (creator !== process.pid && isAlive(creator))) continue
        await rm(join(dataDir, name), { recursive: true, force: true }).catch(() => {}) // its initdb may still run
      }
      return (await stat(path).catch(unless("ENOENT")))?.uid
    })
    if (owner === undefined) {
      const scratch = join(dataDir, `postgres.new-${process.pid}`)
      yield* create(scratch, path, initdb, postgres, account).pipe(
        Effect.ensuring(Effect.promise(() => rm(scratch, { recursive: true, force: true })))
      )
    } else if (account) {
      // An ordinary user may have created the cluster. If the owner is right already, this takes 5 ms.
      yield* giveTo(account, path)
    } else if (owner !== process.getuid?.()) {
      const message = `Cannot start PostgreSQL in ${path}: it belongs to user id ${owner}. Start as that user, or set another DATA_DIR.`
      return yield* new EmbeddedPostgresError({ message })
    }
    // Earlier versions kept the superuser's password in this file. That role has no password any more.
    yield* attempt(`Cannot use ${path}`, () => rm(join(path, "sluice.password"), { force: true }))
    return { account, postgres, path } satisfies Cluster
  })
