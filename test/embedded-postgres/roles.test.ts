/** Who may log in to the embedded PostgreSQL, what they may do there, and what becomes of a cluster without them. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import postgres from "postgres"
import { inSingleUserMode, openCluster } from "../../src/embedded-postgres/cluster-files.ts"
import { startEmbeddedPostgres } from "../../src/embedded-postgres/embedded-postgres.ts"
import { temporaryDirectory } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

const asking = (client: postgres.Sql) => async (text: string) =>
  (await client.unsafe(text).simple().values()).flat(2) as Array<unknown>

/** Starts the cluster. Returns functions that query it as each of the two roles, and one that stops it. */
const start = async (dataDir: string) => {
  const scope = Effect.runSync(Scope.make())
  const { url, sourceUrl } = await Effect.runPromise(Scope.extend(startEmbeddedPostgres(dataDir), scope))
  const clients = [url, sourceUrl].map((one) => postgres(one, { max: 1, onnotice: () => {}, fetch_types: false }))
  return {
    url,
    sluice: asking(clients[0]!),
    source: asking(clients[1]!),
    stop: async () => {
      await Promise.all(clients.map((client) => client.end({ timeout: 1 })))
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}
type Server = Awaited<ReturnType<typeof start>>

const DENIED = "42501"
const refusal = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => "no refusal",
    (error: { code: string }) => error.code
  )

describe("the roles of the embedded PostgreSQL", () => {
  let dataDir: string
  let server: Server
  beforeAll(async () => {
    dataDir = await temporaryDirectory()
    server = await start(dataDir)
  })
  afterAll(() => server.stop())

  test("have no special rights, and no other role can log in with a password", async () => {
    const attributes = "rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    for (const [ask, name] of [
      [server.sluice, "sluice"],
      [server.source, "sluice_source"]
    ] as const) {
      expect(await ask(`select ${attributes} from pg_roles where rolname = current_user`)).toEqual([
        name,
        ...Array(5).fill(false)
      ])
      for (const forbidden of [
        "select * from pg_authid",
        "create database other",
        "create role other",
        "select pg_read_file('PG_VERSION')"
      ])
        expect(await refusal(ask(forbidden))).toBe(DENIED)
    }
    expect(await server.sluice("select rolname from pg_roles where rolcanlogin and rolname !~ '^sluice(_source)?$'")).toEqual([
      "sluice_admin"
    ])
    const asAdmin = Object.assign(new URL(server.url), { username: "sluice_admin", password: "" }).href
    expect(await refusal(postgres(asAdmin, { max: 1 })`select 1`)).toBe("28P01")
  })

  test("let sluice create schemas and tables, and let sluice_source read them, but not change them or read Sluice's own", async () => {
    await server.sluice(
      "create table public.mine as select 1 as one; create schema shop; create view shop.seen as select 2 as two"
    )
    await server.sluice("create table sluice.secret as select 3 as three")
    expect(await server.source("select one, two from public.mine, shop.seen")).toEqual([1, 2])
    for (const forbidden of [
      "select * from sluice.secret",
      "insert into public.mine values (2)",
      "truncate public.mine",
      "create table public.theirs ()",
      "create schema theirs"
    ])
      expect(await refusal(server.source(forbidden))).toBe(DENIED)
  })

  test("keep what was revoked from them revoked, and have new passwords after each start", async () => {
    await server.sluice("create table public.hidden (); revoke select on public.hidden from sluice_source")
    const before = server.url
    await server.stop()
    server = await start(dataDir)
    expect(await refusal(server.source("select * from public.hidden"))).toBe(DENIED)
    expect(await server.source("select one from public.mine")).toEqual([1])
    const { password } = new URL(before)
    const again = Object.assign(new URL(server.url), { password }).href
    expect(await refusal(postgres(again, { max: 1 })`select 1`)).toBe("28P01")
  })

  test("are served by processes without capabilities, of a user other than root", async () => {
    const pid = Number.parseInt(await readFile(join(dataDir, "postgres/postmaster.pid"), "utf8"))
    const [backend] = await server.sluice("select pg_backend_pid()")
    for (const one of [pid, backend]) {
      const status = await readFile(`/proc/${String(one)}/status`, "utf8")
      for (const set of ["Inh", "Prm", "Eff", "Amb"]) expect(status).toMatch(new RegExp(`^Cap${set}:\\s+0+$`, "m"))
      expect(status).toMatch(/^Uid:\t([1-9]\d*)\t\1\t\1\t\1$/m)
      expect(status).not.toMatch(/^Groups:.*\b0\b/m)
    }
  })
})

/** The cluster of an earlier version, whose superuser is called sluice and owns everything. */
const EARLIER = [
  "create role earlier_tester superuser;",
  "set session authorization earlier_tester;",
  "alter role sluice_admin rename to sluice;",
  "set session authorization sluice;",
  "drop role earlier_tester;",
  "alter role sluice password 'earlier';",
  "create schema sluice; create schema sluice_queue; create schema own;",
  "create table public.users (id bigint primary key, name text);",
  "create table sluice.exports (id uuid, sequence bigserial);",
  "create type sluice_queue.job_state as enum ('created');",
  "create function sluice_queue.create_queue(text, json) returns void language plpgsql as 'begin end';",
  "create table sluice_queue.job (state sluice_queue.job_state, id int generated always as identity) partition by list (state);",
  "create domain own.positive as int check (value > 0);",
  "create materialized view own.seen as select 1 as one;",
  "create sequence own.numbers;",
  "create type own.pair as (a int, b int);",
  "create extension pg_trgm;",
  "insert into public.users values (1, 'Ada');"
].join("\n\n")

test("a cluster of an earlier version works as before, and sluice owns all that its superuser created", async () => {
  const dataDir = await temporaryDirectory()
  await Effect.runPromise(Effect.flatMap(openCluster(dataDir), (cluster) => inSingleUserMode(cluster, "sluice", EARLIER)))
  for (let time = 0; time < 2; time++) {
    const server = await start(dataDir)
    const { sluice, source } = server
    expect(await sluice("select rolname, rolsuper from pg_roles where oid = 10")).toEqual(["sluice_admin", true])
    const strangers = `
      select n.nspname || '.' || name from (
        select relnamespace as schema, relname as name, relowner as owner, oid from pg_class
        union all select pronamespace, proname, proowner, oid from pg_proc
        union all select typnamespace, typname, typowner, oid from pg_type
        union all select oid, '', nspowner, oid from pg_namespace where nspname <> 'public'
      ) made join pg_namespace n on n.oid = schema
      where nspname !~ '^pg_' and nspname <> 'information_schema' and owner <> to_regrole('sluice')
        and not exists (select from pg_depend where objid = made.oid and deptype = 'e')`
    expect(await sluice(strangers)).toEqual([])
    expect(await sluice("select name from public.users")).toEqual(["Ada"])
    await sluice("alter table sluice.exports add column later text; alter table sluice.exports drop column later")
    expect(await source("select name, one from public.users, own.seen")).toEqual(["Ada", 1])
    expect(await refusal(source("select * from sluice.exports"))).toBe(DENIED)
    await server.stop()
  }
})
