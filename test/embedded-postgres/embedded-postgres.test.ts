import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect, Logger, type Scope } from "effect"
import { existsSync } from "node:fs"
import { appendFile, chown, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import postgres from "postgres"
import { once } from "../support/shared-service.ts"
import { startEmbeddedPostgres } from "../../src/embedded-postgres/embedded-postgres.ts"

setDefaultTimeout(60_000) // initdb on a slow disk

const warnings: string[] = []
const logger = Logger.replace(
  Logger.defaultLogger,
  Logger.make(({ message }) => void warnings.push(String(message)))
)
const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.runPromise(Effect.scoped(effect).pipe(Effect.provide(logger)))
const failure = (dataDir: string) => run(Effect.flip(startEmbeddedPostgres(dataDir, 200)))

const directories: string[] = []
const directory = async () => {
  const made = await mkdtemp(join(tmpdir(), "sluice-embedded-"))
  directories.push(made)
  return made
}
afterAll(() => Promise.all(directories.map((made) => rm(made, { recursive: true, force: true }))))

/** A data directory with a cluster, copied from one that is created once. */
const directoryWithCluster = async () => {
  const [from, to] = [await cluster(), await directory()]
  if (!Bun.spawnSync(["cp", "-a", `${from}/.`, to]).success) throw new Error(`cannot copy ${from}`)
  return to
}
const cluster = once(async () => {
  const made = await directory()
  await run(startEmbeddedPostgres(made))
  return made
})

/** One query on a connection of its own. */
const ask = async (url: string, query: string) => {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    return (await sql.unsafe(query).values())[0]?.[0] as unknown
  } finally {
    await sql.end({ timeout: 1 })
  }
}
/** Starts the cluster, does the work, and stops it. */
const during = <A>(dataDir: string, work: (url: string) => Promise<A>) =>
  run(Effect.flatMap(startEmbeddedPostgres(dataDir), ({ url }) => Effect.promise(() => work(url))))

const until = async (what: string, condition: () => Promise<boolean>) => {
  for (const end = Date.now() + 15_000; !(await condition()); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`)
  }
}

const processes = async () => {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
  const found = pids.map(async (pid) => ({
    pid: Number(pid),
    argv: (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0"),
    cwd: await readlink(`/proc/${pid}/cwd`).catch(() => "")
  }))
  return Promise.all(found)
}
/** The processes whose working directory is the cluster of a data directory: the wrapper and the server. Zombies have no directory. */
const processesOf = async (dataDir: string) => (await processes()).filter(({ cwd }) => cwd === join(dataDir, "postgres"))
const serverOf = async (dataDir: string) => Number.parseInt(await readFile(join(dataDir, "postgres/postmaster.pid"), "utf8"))

const anotherAnswers = (dataDir: string, before: number, url: string, text: string) =>
  until("another server answers 1", async () => {
    const pid = await serverOf(dataDir).catch(() => before)
    return pid !== before && (await ask(url, text).catch(() => 0)) === 1
  })

/** A process that starts the cluster, prints the URL or the error, and lives until its standard input closes. */
const owner = (dataDir: string, before: string[] = []) => {
  const program = `
    import { Effect } from "effect";
    import { startEmbeddedPostgres } from "./src/embedded-postgres/embedded-postgres.ts";
    const start = startEmbeddedPostgres(process.env.DIRECTORY, 200);
    const line = (text) => Effect.sync(() => console.log(text));
    const life = Effect.flatMap(start, ({ url }) => line(url).pipe(Effect.zipRight(Effect.promise(() => Bun.stdin.text()))));
    await Effect.runPromise(Effect.scoped(life).pipe(Effect.catchAll((error) => line(error.message))));`
  const env = { ...process.env, DIRECTORY: dataDir }
  const command = [...before, process.execPath, "-e", program]
  const child = Bun.spawn(command, { cwd: join(import.meta.dir, "../.."), env, stdin: "pipe", stdout: "pipe" })
  const output = child.stdout.getReader()
  const firstLine = async () => new TextDecoder().decode((await output.read()).value).trim()
  return { child, firstLine }
}

describe("startEmbeddedPostgres", () => {
  test("creates a cluster, keeps its data over a restart, and leaves no process", async () => {
    const dataDir = await directory()
    const first = await during(dataDir, async (url) => {
      await ask(url, "create table kept as select 42 as answer")
      return url
    })
    expect(await processesOf(dataDir)).toEqual([])
    await during(dataDir, async (url) => {
      expect(await ask(url, "select answer from kept")).toBe(42)
      const locale = "concat_ws(' ', pg_encoding_to_char(encoding), datlocprovider, datlocale, current_setting('timezone'))"
      expect(await ask(url, `select ${locale} from pg_database where datname = 'sluice'`)).toBe("UTF8 b C.UTF-8 UTC")
      expect(new URL(url).password).not.toBe(new URL(first).password)
    })
    expect(await processesOf(dataDir)).toEqual([])
  })

  test("shows the password to no other user of the machine", async () => {
    const dataDir = join(await directory(), "new")
    await during(dataDir, async (url) => {
      const { password } = new URL(url)
      expect(await readFile(join(dataDir, "database-url"), "utf8")).toBe(`${url}\n`)
      const mode = async (path: string) => ((await stat(join(dataDir, path))).mode & 0o777).toString(8)
      const paths = ["", "postgres", "database-url", "postgres.log"]
      expect(await Promise.all(paths.map(mode))).toEqual(["700", "700", "600", "600"])
      expect((await processes()).filter(({ argv }) => argv.join().includes(password))).toEqual([])
      expect(await readFile(join(dataDir, "postgres.log"), "utf8")).not.toContain(password)
      const refusal = await ask(url.replace(password, "wrong"), "select 1").catch(String)
      expect(refusal).toContain("password authentication failed")
    })
  })

  test("runs several clusters at once, and stops each alone", async () => {
    const [a, b] = [await directoryWithCluster(), await directoryWithCluster()]
    await during(a, async (url) => {
      await during(b, (other) => ask(other, "select 1"))
      expect(await processesOf(b)).toEqual([])
      expect(await ask(url, "select 1")).toBe(1)
    })
  })

  test("works in a directory with spaces, quotes and a long name", async () => {
    const dataDir = join(await directory(), `it's a "long" $(name) ü\n${"x".repeat(200)}`, "y".repeat(200))
    expect(await during(dataDir, (url) => ask(url, "select 1"))).toBe(1)
  })

  test.each(["SIGKILL", "SIGINT"] as const)("starts the server again on the same port after %s", async (signal) => {
    const dataDir = await directoryWithCluster()
    warnings.length = 0
    await during(dataDir, async (url) => {
      await ask(url, "create table kept as select 1 as one")
      const before = await serverOf(dataDir)
      process.kill(before, signal)
      await anotherAnswers(dataDir, before, url, "select one from kept")
    })
    expect(warnings[0]).toContain(`exit code ${signal === "SIGKILL" ? 137 : 0}`)
    expect(warnings[0]).toContain(join(dataDir, "postgres.log"))
    expect(await processesOf(dataDir)).toEqual([])
  })

  test("starts the server again when the wrapper around it is killed", async () => {
    const dataDir = await directoryWithCluster()
    await during(dataDir, async (url) => {
      const before = await serverOf(dataDir)
      const wrapper = (await processesOf(dataDir)).find(({ argv }) => argv[0] === "sh")
      process.kill(wrapper!.pid, "SIGKILL")
      await anotherAnswers(dataDir, before, url, "select 1")
    })
    expect(await processesOf(dataDir)).toEqual([])
  })

  test("stops the server when its service is killed, and the next service starts it", async () => {
    const dataDir = await directoryWithCluster()
    const { child, firstLine } = owner(dataDir)
    await ask(await firstLine(), "create table kept as select 7 as seven")
    child.kill("SIGKILL")
    await child.exited
    // Without a pause, so that the old server is still shutting down.
    expect(await during(dataDir, (url) => ask(url, "select seven from kept"))).toBe(7)
    const again = owner(dataDir)
    await again.firstLine()
    again.child.kill("SIGKILL")
    await until("every process is gone", async () => (await processesOf(dataDir)).length === 0)
  })

  test("lets its process end once the scope is closed", async () => {
    const { child, firstLine } = owner(await directoryWithCluster())
    expect(await firstLine()).toStartWith("postgres://sluice:")
    await child.stdin.end()
    expect(await child.exited).toBe(0)
  })

  test("refuses a directory that another service uses, and leaves the server there alone", async () => {
    const dataDir = await directoryWithCluster()
    await during(dataDir, async (url) => {
      const what = `process ${await serverOf(dataDir)} is already using it. Stop that service, or set another DATA_DIR.`
      expect((await failure(dataDir)).message).toBe(`Cannot start PostgreSQL in ${dataDir}/postgres: ${what}`)
      expect(await ask(url, "select 1")).toBe(1)
    })
  })

  test("lets one of two services have a cluster that both create at the same moment", async () => {
    const dataDir = await directory()
    const both = [owner(dataDir), owner(dataDir)]
    const lines = (await Promise.all(both.map(({ firstLine }) => firstLine()))).toSorted()
    expect(lines[0]).toContain("is already using it")
    expect(await ask(lines[1]!, "select 1")).toBe(1)
    for (const { child } of both) await child.stdin.end()
    await Promise.all(both.map(({ child }) => child.exited))
    expect((await readdir(dataDir)).filter((name) => name.includes("new"))).toEqual([])
  })

  test("starts in spite of the files that a killed service left", async () => {
    const dataDir = await directory()
    const gone = Bun.spawn(["true"])
    await gone.exited
    const half = join(dataDir, `postgres.new-${gone.pid}`)
    await mkdir(join(half, "data/base"), { recursive: true })
    await run(startEmbeddedPostgres(dataDir))
    expect(existsSync(half)).toBe(false)
    // The number of a dead server now belongs to this test.
    await writeFile(join(dataDir, "postgres/postmaster.pid"), `${process.pid}\n`)
    await run(startEmbeddedPostgres(dataDir, 200))
  })

  test("fails at once with the end of the log when the server cannot start", async () => {
    const dataDir = await directoryWithCluster()
    await run(startEmbeddedPostgres(dataDir))
    await appendFile(join(dataDir, "postgres/postgresql.conf"), "\nnonsense = 1\n")
    const error = await failure(dataDir)
    expect(error.message).toContain('unrecognized configuration parameter "nonsense"')
    expect(await processesOf(dataDir)).toEqual([])
  })
})

const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
const reachable = () =>
  Bun.spawnSync([...nobody, "sh", "-c", 'test -x "$1" && test -r "$2"', "sh", process.execPath, import.meta.path]).success

/** This needs root to change users, and a checkout and a Bun that an ordinary user may read. */
const canChangeUser = process.getuid?.() === 0 && Bun.which("setpriv") !== null && reachable()
if (!canChangeUser) console.log("skipped: tests as an ordinary user, which root runs where such a user can read the checkout")

describe.skipIf(!canChangeUser)("startEmbeddedPostgres of an ordinary user", () => {
  test("starts its own cluster, and is refused after root has started it, with the owner named", async () => {
    const dataDir = await directory()
    await chown(dataDir, 65534, 65534)
    const start = async () => {
      const { child, firstLine } = owner(dataDir, nobody)
      const line = await firstLine()
      if (line.startsWith("postgres://")) await ask(line, "create table if not exists kept as select 1 as one")
      await child.stdin.end()
      await child.exited
      return line
    }
    expect(await start()).toStartWith("postgres://sluice:")
    expect(await during(dataDir, (url) => ask(url, "select one from kept"))).toBe(1)
    const { uid } = await stat(join(dataDir, "postgres"))
    const detail = `it belongs to user id ${uid}. Start as that user, or set another DATA_DIR.`
    expect(await start()).toEqual(uid === 65534 ? expect.stringContaining("postgres://") : expect.stringContaining(detail))
  })
})
