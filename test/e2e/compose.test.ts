/** Checks docker-compose.yml and the roles that it creates, without Docker. */
import { expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import postgres from "postgres"
import { copyCsv, createExport, download, reaches } from "../support/client.ts"
import { heapSettings } from "../support/runtime.ts"
import { startService } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      { readonly environment: Readonly<Record<string, string>>; readonly logging?: unknown; readonly volumes?: unknown }
    >
  >
}
const root = join(import.meta.dir, "../..")

test("the log of every container is limited in size, and the service does not log in as a superuser", async () => {
  const { services } = Bun.YAML.parse(await readFile(join(root, "docker-compose.yml"), "utf8")) as Compose
  for (const { logging } of Object.values(services))
    expect(logging).toEqual({ driver: "json-file", options: { "max-size": "10m", "max-file": "3" } })
  const { DATABASE_URL, SOURCE_DATABASE_URL } = services["sluice"]!.environment
  expect(DATABASE_URL).toStartWith("postgres://sluice_service:")
  expect(SOURCE_DATABASE_URL).toStartWith("postgres://sluice_source:")
})

test("the image runs Bun with the memory settings of `bun run server`", async () => {
  const dockerfile = await readFile(join(root, "Dockerfile"), "utf8")
  const inImage = [...dockerfile.matchAll(/(BUN_JSC_\w+)=(\S+)/g)].map(([, name, value]) => [name, value])
  expect(Object.keys(heapSettings)).toContain("BUN_JSC_forceRAMSize")
  expect(Object.fromEntries(inImage)).toEqual({ ...heapSettings })
})

test.skipIf(!Bun.which("psql"))(
  "the roles take over a database that an earlier version ran on as the superuser (skipped without psql)",
  async () => {
    const admin = await freshDatabase()
    const makeRoles = () => {
      const variables = ["--set=service_password=it's", "--set=source_password=secret"]
      const { exitCode, stderr } = Bun.spawnSync([
        "psql",
        "--no-psqlrc",
        "--quiet",
        ...variables,
        `--file=${root}/.ops/roles.sql`,
        admin
      ])
      expect([exitCode, stderr.toString().replaceAll(/^.*NOTICE.*\n/gm, "")]).toEqual([0, ""])
    }
    const as = (username: string, password: string) =>
      Object.assign(new URL(admin), { username, password: encodeURIComponent(password) }).href
    const earlier = await startService({ DATABASE_URL: admin })
    const before = await createExport(earlier, "?total=5")
    await reaches(earlier, before, "completed")
    await earlier.stop()

    makeRoles()
    makeRoles()
    const env = {
      EXPORT_STORAGE_PATH: earlier.storage,
      DATABASE_URL: as("sluice_service", "it's"),
      SOURCE_DATABASE_URL: as("sluice_source", "secret")
    }
    const service = await startService(env)
    expect((await download(service, before)).toString().split("\n")).toHaveLength(7)
    const id = await createExport(service)
    await reaches(service, id, "completed")
    expect((await download(service, id)).equals(await copyCsv({ ...service, database: admin }, "select * from users"))).toBe(true)
    await service.stop()
    const sql = await connect(admin, 1)
    expect(await sql`select rolname from pg_roles where rolname ~ '^sluice_(service|source)$' and rolsuper`).toHaveLength(0)
    const source = postgres(env.SOURCE_DATABASE_URL, { max: 1 })
    for (const forbidden of ["select * from sluice.exports", "delete from users", "create table public.mine ()"])
      expect(String(await source.unsafe(forbidden).catch((error: unknown) => error))).toContain("permission denied")
    await source.end()
  }
)
