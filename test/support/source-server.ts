import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import postgres from "postgres"
import { dataDirectory } from "../../src/embedded-postgres/cluster-files.ts"
import { spawnOptions } from "../../src/embedded-postgres/programs.ts"
import { asSuperuser, inScope, makeSuperuser, temporaryDirectory } from "./shared-service.ts"
import { until } from "./until.ts"

/** A PostgreSQL that a test stops, and starts again on the port that clients know. */
export interface SourceServer {
  readonly url: string
  readonly start: () => Promise<void>
  /** Ends its sessions and refuses new ones, as `pg_ctl stop` does; with SIGKILL, without notice to them. */
  readonly stop: (signal?: "SIGINT" | "SIGKILL") => Promise<void>
  /** Takes all its connections until the returned function gives them back. */
  readonly fill: () => Promise<() => Promise<void>>
}

const CONNECTIONS = 30

const freePort = () => {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  listener.stop(true)
  return listener.port
}

/** Creates a server that is not started yet. */
export const sourceServer = async (connections = CONNECTIONS): Promise<SourceServer> => {
  const { account, postgres: program, path } = await Effect.runPromise(makeSuperuser(await temporaryDirectory()))
  const port = freePort()
  const url = asSuperuser(`postgres://127.0.0.1:${port}/sluice`)
  const settings = [
    `port=${port}`,
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    `max_connections=${connections}`
  ]
  let running: ReturnType<typeof run> | undefined
  const run = () =>
    Bun.spawn([program, "-D", dataDirectory(path), ...settings.flatMap((setting) => ["-c", setting])], {
      ...spawnOptions(account, path),
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore"
    })
  const client = () => postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 5 })
  const answers = async () => {
    const sql = client()
    const isUp = await sql`select 1`.then(
      () => true,
      () => false
    )
    await sql.end({ timeout: 1 })
    return isUp
  }
  const stop = async (signal: "SIGINT" | "SIGKILL" = "SIGINT") => {
    if (!running) return
    process.kill(Number.parseInt(await readFile(join(path, "postmaster.pid"), "utf8")), signal)
    await running.exited
    running = undefined
  }
  const start = async () => {
    await until("the server to start", () => {
      // A killed server leaves processes, and the next one cannot start until they have ended.
      if (running?.exitCode !== null) running = run()
      return answers()
    })
  }
  const fill = async () => {
    const taken: Array<postgres.Sql> = []
    await until("all connections to be taken", async () => {
      const sql = client()
      const isFull = await sql`select 1`.then(
        () => false,
        (error: { code?: string }) => error.code === "53300"
      )
      taken.push(sql)
      return isFull
    })
    return async () => void (await Promise.all(taken.map((sql) => sql.end({ timeout: 1 }))))
  }
  await inScope(Effect.addFinalizer(() => Effect.promise(() => stop())))
  return { url, start, stop, fill }
}
