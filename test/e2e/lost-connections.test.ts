/**
 * The database ends connections of the service, or itself, under all kinds of requests: the process lives and answers 503
 * at worst. `LOST_CONNECTIONS` and `LOST_SERVERS` say how often; 1000 and 50 take about ten minutes.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import postgres from "postgres"
import { seedUsers } from "../../seeds/users.ts"
import { isFinished } from "../../src/exports/export-job.ts"
import { copyCsv, createExport, download, reaches, statusOf } from "../support/client.ts"
import { exportedUsers, startTraffic } from "../support/faults.ts"
import { startService, type Service } from "../support/service.ts"
import { asSuperuser, makeSuperuser, startServer, temporaryDirectory } from "../support/shared.ts"
import { offerTls } from "../support/tls.ts"
import { until } from "../support/until.ts"

const TERMINATIONS = Number(process.env["LOST_CONNECTIONS"] ?? 60)
const RESTARTS = Number(process.env["LOST_SERVERS"] ?? 2)
const FULL = process.env["LOST_CONNECTIONS"] !== undefined
const CLIENTS = 8
setDefaultTimeout(60_000 + TERMINATIONS * 1_000 + RESTARTS * 30_000)

const scope = Effect.runSync(Scope.make())
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

interface Started {
  readonly service: Service
  /** Of the server, which may be away. */
  readonly admin: string
  readonly directory: string
}

const outside = async (sslmode: "disable" | "require"): Promise<Started> => {
  const directory = await temporaryDirectory()
  const url = await Effect.runPromise(Scope.extend(startServer(directory), scope))
  await Effect.runPromise(seedUsers(url, 5_000))
  if (sslmode === "require") {
    const sql = postgres(url, { max: 1 })
    await offerTls(sql, true)
    await sql.end()
  }
  return { service: await startService({ ...settings, DATABASE_URL: `${url}?sslmode=${sslmode}` }), admin: url, directory }
}

const embedded = async (): Promise<Started> => {
  const directory = await temporaryDirectory()
  await Effect.runPromise(makeSuperuser(directory))
  const service = await startService({ ...settings, DATABASE_URL: "", DATA_DIR: directory, SEED_ROWS: "5000" })
  const admin = asSuperuser((await readFile(join(directory, "database-url"), "utf8")).trim())
  return { service: { ...service, database: admin }, admin, directory }
}

const settings = { RATE_LIMIT_MAX: "10000", EXPORT_TTL: "20 seconds", LOG_LEVEL: "info" }

/** Asks the server once, by a connection of its own; undefined while it is away. */
const ask = async (url: string, query: string): Promise<ReadonlyArray<postgres.Row> | undefined> => {
  const sql = postgres(url, { max: 1, connection: { application_name: "test" }, fetch_types: false, onnotice: () => {} })
  try {
    return await sql.unsafe(query)
  } catch {
    return undefined
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** Ends connections, one at a time, until so many have ended. */
const terminate = async (url: string, count: number) => {
  const sql = postgres(url, { max: 1, connection: { application_name: "test" }, fetch_types: false })
  let ended = 0
  while (ended < count) {
    const rows = await sql`
      select pg_terminate_backend(pid) as done from pg_stat_activity
      where application_name like 'sluice%' and (application_name <> 'sluice source' or random() < 0.1)
      order by state = 'active' desc, random() limit 1`
    if (rows[0]?.["done"]) ended++
    // In between some requests come through.
    await Bun.sleep(FULL ? 50 : 10)
  }
  await sql.end({ timeout: 1 })
}

const endServer = async ({ directory }: Started, signal: "SIGINT" | "SIGKILL") =>
  process.kill(Number.parseInt(await readFile(join(directory, "postgres/postmaster.pid"), "utf8")), signal)

/** Ends the server, and waits until it, or another in its place, answers again. */
const restart = async (started: Started, signal: "SIGINT" | "SIGKILL") => {
  const { admin } = started
  await endServer(started, signal)
  await until("the server to be gone", async () => (await ask(admin, "select 1")) === undefined)
  await until("the server to be back", async () => (await ask(admin, "select 1")) !== undefined, 60_000)
}

/** Waits until what clients created has ended, and returns the errors of what failed. */
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

test.concurrent.each([
  ["outside", () => outside("disable")],
  ["outside, with TLS", () => outside("require")],
  ["embedded", embedded]
] as const)(
  "a database (%s) that ends connections and restarts is answered by 503 at worst, and what says completed is right",
  async (name, start) => {
    const started = await start()
    const { service, admin } = started
    const file = await copyCsv({ ...service, database: admin }, exportedUsers)
    const traffic = startTraffic(service, file, CLIENTS)
    await until("the first export", () => traffic.kept.length > 0)
    const [terminations, restarts] = [Math.ceil(TERMINATIONS / 3), Math.ceil(RESTARTS / 3)]
    for (let round = 0; round < restarts; round++) {
      await terminate(admin, Math.ceil(terminations / restarts))
      await restart(started, (round + name.length) % 2 === 0 ? "SIGINT" : "SIGKILL")
    }
    await until("the service to be ready", async () => (await fetch(`${service.url}/ready`)).status === 200)
    await traffic.stop()

    const last = await createExport(service, "?id=lte.2000&order_by=id")
    await reaches(service, last, "completed")
    expect((await download(service, last)).equals(file)).toBe(true)
    // A delivery that got lost on its way to a worker comes again after some seconds.
    if (FULL) {
      console.log(name, Object.fromEntries(traffic.seen))
      expect((await failuresOf(service, traffic.kept)).filter((error) => !isExplained(error))).toEqual([])
    }
    const errors = service.log().filter(({ logLevel }) => logLevel === "ERROR" || logLevel === "FATAL")
    expect(errors.filter(({ message }) => !isExplained(message))).toEqual([])
    // Whoever stops the machine stops both at once.
    if (name !== "embedded") await endServer(started, "SIGINT")
    expect(await service.stop()).toBe(0)
  }
)
