/**
 * The database ends connections of the service, or restarts, during requests of all kinds: the process lives, and answers
 * 503 at worst. `LOST_CONNECTIONS` and `LOST_SERVERS` say how often; 1000 and 50 take about ten minutes.
 */
import { seedUsers } from "../../src/postgres/demo-users.ts"
import { expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import postgres from "postgres"
import { isFinished } from "../../src/exports/export-job.ts"
import { copyCsv, createExport, download, reaches, statusOf } from "../support/client.ts"
import { exportedUsers, startTraffic } from "../support/faults.ts"
import { startService, type Service } from "../support/service.ts"
import { asSuperuser, makeSuperuser, temporaryDirectory } from "../support/shared-service.ts"
import { sourceServer } from "../support/source-server.ts"
import { offerTls } from "../support/tls.ts"
import { until } from "../support/until.ts"

const TERMINATIONS = Number(process.env["LOST_CONNECTIONS"] ?? 30)
const RESTARTS = Number(process.env["LOST_SERVERS"] ?? 2)
const FULL = process.env["LOST_CONNECTIONS"] !== undefined
const CLIENTS = FULL ? 8 : 4
setDefaultTimeout(60_000 + TERMINATIONS * 1_000 + RESTARTS * 30_000)

interface Started {
  readonly service: Service
  /** The URL of the server, which may be away. */
  readonly admin: string
  /** Ends the server, and returns when it, or another in its place, answers again. */
  readonly restart: (signal: "SIGINT" | "SIGKILL") => Promise<void>
  /** Stops the service and, at the same moment, a server that is not embedded. */
  readonly stop: () => Promise<number>
}

const outside = async (sslmode: "disable" | "require"): Promise<Started> => {
  const server = await sourceServer(100)
  await server.start()
  await Effect.runPromise(seedUsers(server.url, 5_000))
  if (sslmode === "require") {
    const sql = postgres(server.url, { max: 1 })
    await offerTls(sql, true)
    await sql.end()
  }
  const service = await startService({ ...settings, DATABASE_URL: `${server.url}?sslmode=${sslmode}` }, { limits: soon })
  return {
    service,
    admin: server.url,
    restart: async (signal) => {
      await server.stop(signal)
      await server.start()
    },
    // Both are stopped at once, as when a machine is shut down.
    stop: async () => {
      const [, code] = await Promise.all([server.stop(), service.stop()])
      return code
    }
  }
}

const embedded = async (): Promise<Started> => {
  const directory = await temporaryDirectory()
  await Effect.runPromise(makeSuperuser(directory))
  const service = await startService({ ...settings, DATABASE_URL: "", DATA_DIR: directory, SEED_ROWS: "5000" }, { limits: soon })
  const admin = asSuperuser((await readFile(join(directory, "database-url"), "utf8")).trim())
  return {
    service: { ...service, database: admin },
    admin,
    restart: async (signal) => {
      process.kill(Number.parseInt(await readFile(join(directory, "postgres/postmaster.pid"), "utf8")), signal)
      await until("the server to be gone", async () => !(await answers(admin)))
      await until("the server to be back", () => answers(admin), 60_000)
    },
    stop: service.stop
  }
}

/** A delivery that got lost on its way to a worker comes again soon. */
const soon = { jobRetryDelayMaxSeconds: 1, queueSuperviseSeconds: 1 }
const settings = { RATE_LIMIT_MAX: "10000", EXPORT_TTL: "20 seconds", LOG_LEVEL: "info" }

/** Sends one query over a connection of its own. */
const answers = async (url: string): Promise<boolean> => {
  const sql = postgres(url, { max: 1, connection: { application_name: "test" }, fetch_types: false, onnotice: () => {} })
  const answered = await sql`select 1`.then(
    () => true,
    () => false
  )
  await sql.end({ timeout: 1 })
  return answered
}

/** Ends connections, one at a time, until `times` have ended. */
const terminate = async (url: string, count: number) => {
  const sql = postgres(url, { max: 1, connection: { application_name: "test" }, fetch_types: false })
  let ended = 0
  while (ended < count) {
    const rows = await sql`
      select pg_terminate_backend(pid) as done from pg_stat_activity
      where application_name like 'sluice%' and (application_name <> 'sluice source' or random() < 0.1)
      order by state = 'active' desc, random() limit 1`
    if (rows[0]?.["done"]) ended++
    // Some requests succeed in between.
    await Bun.sleep(FULL ? 50 : 10)
  }
  await sql.end({ timeout: 1 })
}

/** Waits until the exports of the clients have ended, and returns the errors of those that failed. */
const failuresOf = async (service: Service, ids: ReadonlyArray<string>) => {
  const failed: Array<string> = []
  for (const id of ids) {
    const { status, error } = await until(`export ${id} to end`, async () => {
      const document = await statusOf(service, id)
      return isFinished(document.status) && document
    })
    if (status === "failed") failed.push(error!)
  }
  return failed
}

// The source loses its connections, too, and a job has four tries.
const isExplained = (message: unknown) => String(message).includes("tried 4 times")

const databases = [
  ["outside, with TLS", () => outside("require")],
  ["embedded", embedded],
  // To the service this is the embedded one with another address.
  ["outside", () => outside("disable")]
] as const

test.concurrent.each(FULL ? databases : databases.slice(0, 2))(
  "a database (%s) that ends connections and restarts is answered by 503 at worst, and what says completed is right",
  async (name, start) => {
    const { service, admin, restart, stop } = await start()
    const file = await copyCsv({ ...service, database: admin }, exportedUsers)
    const traffic = startTraffic(service, file, CLIENTS)
    await until("the first export", () => traffic.kept.length > 0)
    // The embedded server is started again after a second, and then after ever longer pauses.
    const restarts = name === "embedded" ? Math.min(5, Math.ceil(RESTARTS / 3)) : Math.ceil(RESTARTS * 0.45)
    const terminations = Math.ceil(TERMINATIONS / 3)
    for (let round = 0; round < restarts; round++) {
      await terminate(admin, Math.ceil(terminations / restarts))
      await restart((round + name.length) % 2 === 0 ? "SIGINT" : "SIGKILL")
    }
    await until("the service to be ready", async () => (await fetch(`${service.url}/ready`)).status === 200)
    await traffic.stop()

    const last = await createExport(service, "?id=lte.2000&order_by=id")
    await reaches(service, last, "completed")
    expect((await download(service, last)).equals(file)).toBe(true)
    if (FULL) console.log(name, Object.fromEntries(traffic.seen))
    // A delivery that is lost on its way to a worker is repeated after some seconds.
    expect((await failuresOf(service, traffic.kept)).filter((error) => !isExplained(error))).toEqual([])
    const errors = service.log().filter(({ logLevel }) => logLevel === "ERROR" || logLevel === "FATAL")
    expect(errors.filter(({ message }) => !isExplained(message))).toEqual([])
    expect(await stop()).toBe(0)
  }
)
