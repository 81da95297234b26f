/** Relations in the place of `public.users`, on a real PostgreSQL: their plans, and their parts compared with one COPY. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect } from "effect"
import { limits } from "../../../src/limits.ts"
import { leavesOf } from "../../../src/datasets/filters/conditions.ts"
import type { ExportSpec } from "../../../src/exports/export-spec.ts"
import { relationsStatement } from "../../../src/read/plan/table-layout.ts"
import { partsOf, planRows, type Explained, type Relation } from "../../../src/read/plan/plan.ts"
import { openSession, type SourceSession } from "../../../src/source/session.ts"
import { copyStatements, quoteStatement, selectStatement } from "../../../src/read/sql/statement.ts"
import { specOf, userColumns, usersDataset } from "../../support/datasets.ts"
import { connect, freshDatabase, USERS } from "../../support/shared-service.ts"

setDefaultTimeout(60_000)

const KIB = 1024
const READER = "catalog_reader"
// A role belongs to the server, not to a database.
beforeAll(async () => {
  const sql = await connect(await freshDatabase(), 1)
  await sql.unsafe(`create role ${READER} login password '${READER}'`)
  await sql.end()
})

interface Reading {
  /** The parameters of the request. */
  readonly parameters?: Readonly<Record<string, string>>
  /** Filters on its columns. */
  readonly filters?: ReadonlyArray<readonly [column: string, filter: string]>
  /** The role that reads, if it is not the owner. */
  readonly role?: typeof READER
  readonly partBytes?: number
  readonly partPages?: number
  /** Runs between the snapshot and everything else. */
  readonly meanwhile?: string
}

const copied = async (connection: SourceSession, text: string): Promise<Buffer> => {
  const pieces: Array<Buffer> = []
  const append = (bytes: Buffer, start: number, end: number) => pieces.push(Buffer.from(bytes.subarray(start, end)))
  await connection.copy(text, { crlf: false, append, arrived: () => {} })
  return Buffer.concat(pieces)
}

const quoted = (value: string) => `$sql$${value}$sql$`
/** Runs one COPY of an export, with SQL that is written by hand. */
const oracle = ({ columns, conditions, total, format }: ExportSpec) => {
  const compared = leavesOf(conditions).map(
    ({ column, operator, values: [value] }) => `${column} ${operator === "eq" ? "=" : ">="} ${quoted(value!)}`
  )
  const where = compared.length > 0 ? `where ${compared.join(" and ")}` : ""
  return `copy (select ${columns.map(({ name }) => name).join()} from public.users ${where} limit ${total ?? "all"})
    to stdout (format csv, delimiter ${quoted(format.delimiter)}, quote ${quoted(format.quote)}, escape ${quoted(format.quote)})`
}

/** Plans and reads an export as ExportReader does, with its parts on two sessions of one snapshot in turn. */
const readOn = (url: string, meanwhile: () => Promise<unknown>, reading: Reading) =>
  Effect.gen(function* () {
    const leader = yield* openSession(url)
    const extra = yield* openSession(url, { snapshot: yield* Effect.promise(() => leader.exportSnapshot()) })
    return yield* Effect.promise(async () => {
      await meanwhile()
      const { partBytes = 64 * KIB, partPages = limits.partPages, parameters, filters } = reading
      const spec = specOf(parameters, usersDataset, filters)
      const statement = selectStatement(spec, usersDataset)
      const [explained] = await leader.query<Explained>({ ...statement, text: `explain (format json) ${statement.text}` })
      const relations = await leader.query<Relation>(relationsStatement(usersDataset))
      const plan = planRows(spec, explained!, relations, { method: "copy", sessions: 2, partBytes, partPages })
      const quotedValues =
        statement.values.length > 0 ? await leader.query<{ readonly literal: string }>(quoteStatement(statement)) : []
      const literals = quotedValues.map(({ literal }) => literal)
      const statements = Array.from(partsOf(plan), copyStatements(spec, usersDataset, literals))
      const parts: Array<Buffer> = []
      for (const copy of statements) parts.push(await copied(parts.length % 2 === 0 ? leader : extra, copy))
      return { plan, statements, parts, whole: await copied(leader, oracle(spec)) }
    })
  }).pipe(Effect.scoped, Effect.runPromise)

type Setup = string | ((url: URL) => string)
const databases = new Map<Setup, Promise<URL>>()
const run = async (url: URL, text: string) => {
  const sql = await connect(url.href, 1)
  await sql.unsafe(text)
  await sql.end()
}
/** Returns the database in which `setup` was run, one for all tests with that setup. */
const databaseOf = (setup: Setup): Promise<URL> => {
  const make = async () => {
    const url = new URL(await freshDatabase())
    await run(url, typeof setup === "string" ? setup : setup(url))
    await run(url, "analyze public.users")
    return url
  }
  const made = databases.get(setup) ?? make()
  databases.set(setup, made)
  return made
}

const read = async (setup: Setup, reading: Reading = {}) => {
  const url = await databaseOf(setup)
  const { role, meanwhile } = reading
  const target = Object.assign(new URL(url), role && { username: role, password: role })
  const result = await readOn(target.href, async () => meanwhile !== undefined && (await run(url, meanwhile)), reading)
  // `toEqual` would show megabytes.
  expect(Buffer.concat(result.parts).equals(result.whole)).toBe(true)
  return { ...result, rows: result.whole.toString().split("\n").length - 1 }
}

const role = READER
const grant = `grant select on all tables in schema public to ${READER};`
const policy = (table: string) => `alter table ${table} enable row level security;
  create policy valuable on ${table} using (lifetime_value > 100);`
const renamed = "alter table public.users rename to everybody;"
const viewOf = (kind: string) => `${renamed} create ${kind} public.users as select * from public.everybody`
const parent = "create table public.more () inherits (public.users); insert into public.more select * from only public.users"
const noIndexes = "drop index public.users_country_code, public.users_subscription_tier, public.users_lifetime_value;"
const heap2 =
  "create access method heap2 type table handler heap_tableam_handler; alter table public.users set access method heap2"
const wide = `truncate public.users; insert into public.users select i, 'n', string_agg(md5(i || '.' || n), ''), now(), 'US', 'free', 1
  from generate_series(1, 600) i, generate_series(1, 300) n group by i`

/** A partition, named after its country unless it has a name. */
const leaf = (country: string, name = `public.${country.toLowerCase()}`, kind = "table", options = "") =>
  `create ${kind} ${name} partition of public.users for values in ('${country}') ${options};`
const partitioned = (...leaves: ReadonlyArray<string>) => `${renamed}
  create table public.users (like public.everybody) partition by list (country_code); ${leaves.join("")}`
const loaded = "insert into public.users select * from public.everybody where country_code in ('US', 'UK', 'DE');"
const countries = partitioned(leaf("US"), leaf("UK"), leaf("DE")) + loaded
const indexed = `${countries} create index on public.uk (lifetime_value)`
const namesakes = `create schema other; ${partitioned(leaf("US"), leaf("UK"), leaf("DE", "other.us"))} ${loaded}`
const oneOfAll = `${renamed} create table public.people (like public.everybody) partition by list (country_code);
  create table public.users partition of public.people default; insert into public.people select * from public.everybody`
/** Partitions: some have odd names, one has other columns in another order, one is partitioned, and one is empty. */
const nested = String.raw`create schema "it's "" a \ schema";
  ${partitioned(leaf("ZZ"), leaf("US", String.raw`"it's "" a \ schema"."users"" \us"`))}
  create table public.europe partition of public.users for values in ('DE', 'UK', 'FR') partition by list (country_code);
  create table public.uk partition of public.europe for values in ('UK');
  create table public."users;DE" partition of public.europe default;
  create table public.india (dropped int, lifetime_value numeric(12,2) not null, subscription_tier text not null,
    country_code char(2) not null, signup_date timestamptz not null, email text not null, name text not null, id bigint not null);
  alter table public.india drop column dropped;
  alter table public.users attach partition public.india for values in ('IN');
  create table public.rest partition of public.users default;
  insert into public.users select * from public.everybody;`
const nestedLeaves = ["uk", "users;DE", "india", 'users" \\us', "zz", "rest"]

const loop = ({ hostname, port, pathname, username, password }: URL) => `create extension postgres_fdw;
  create server loop foreign data wrapper postgres_fdw options (host '${hostname}', port '${port}', dbname '${pathname.slice(1)}');
  create user mapping for current_user server loop options (user '${username}', password '${password}'); ${renamed}`
const foreign = (url: URL) => `${loop(url)} create foreign table public.users (id bigint, name text, email text,
  signup_date timestamptz, country_code char(2), subscription_tier text, lifetime_value numeric(12,2))
  server loop options (table_name 'everybody')`
const partlyForeign = (url: URL) =>
  [
    loop(url).replace(renamed, ""),
    partitioned(leaf("US"), leaf("UK"), leaf("DE"), leaf("FR", "public.fr", "foreign table", "server loop")),
    "alter foreign table public.fr options (table_name 'french');",
    "create table public.french as select * from public.everybody where country_code = 'FR';",
    loaded
  ].join("")

const otherRows = (table: string) => `public.${table} shows other rows by itself`

describe("an export is read in one part from", () => {
  const usOnly = { parameters: { country_code: "US" } }
  test.each<readonly [string, Setup, Reading, string]>([
    ["a view", viewOf("view"), {}, "the plan is a Seq Scan"],
    ["a foreign table", foreign, {}, "public.users is foreign"],
    ["an inheritance parent", parent, {}, otherRows("users")],
    ["a table with row security for the role", grant + policy("public.users"), { role }, otherRows("users")],
    [
      "partitions that the role may not read",
      `${countries} grant select on public.users to ${READER};`,
      { role },
      otherRows("de")
    ],
    ["partitions of a table with row security", countries + grant + policy("public.users"), { role }, otherRows("de")],
    ["partitions of which one has row security", countries + grant + policy("public.uk"), { role }, otherRows("uk")],
    ["partitions of which one is foreign", partlyForeign, {}, "public.fr is foreign"],
    ["partitions with the same name in two schemas", namesakes, {}, "the plan is an Append"],
    ["a table of another access method", heap2, {}, "the plan is a Seq Scan"],
    ["the rows that an index finds", "", usOnly, "the plan is a Bitmap Heap Scan"],
    ["a total", noIndexes, { parameters: { ...usOnly.parameters, total: "7" } }, "a total"],
    ["a table of less than three parts", "", { partBytes: 3 << 20 }, "small"]
  ])("%s", async (_, setup, reading, reason) => {
    const { plan, parts, rows } = await read(setup, reading)
    expect(plan).toMatchObject({ method: "copy", split: { kind: "single" }, parts: 1, reason })
    expect(parts.length).toBe(1)
    expect(rows).toBeGreaterThan(0)
  })

  test.each([
    ["an empty table", "truncate public.users", "small"],
    ["a table with empty partitions", partitioned(leaf("US"), leaf("UK")), "small"],
    ["a partitioned table without partitions", partitioned(), "the plan is a Result"]
  ])("%s", async (_, setup, reason) => {
    expect(await read(setup)).toMatchObject({ plan: { split: { kind: "single" }, parts: 1, reason }, rows: 0 })
  })
})

const premium = { parameters: { subscription_tier: "premium" } }
const everyFilter = { parameters: { country_code: "US", subscription_tier: "premium", min_ltv: "1234.50" } }

describe("an export is read in parts from", () => {
  const ukOnly = { parameters: { country_code: "UK" } }
  test.each<readonly [string, Setup, Reading, ReadonlyArray<string>]>([
    ["a table", "", { partBytes: limits.partBytes }, ["users"]],
    ["a table, page by page", "", { partPages: 1 }, ["users"]],
    ["a table without its indexes", noIndexes, premium, ["users"]],
    ["a table with every filter", noIndexes, { ...everyFilter, partPages: 9 }, ["users"]],
    ["other columns in another dialect", "", { parameters: { columns: "email,id", delimiter: "'", quoteChar: "\\" } }, ["users"]],
    ["an unlogged table", "alter table public.users set unlogged", {}, ["users"]],
    ["a materialized view", viewOf("materialized view"), {}, ["users"]],
    ["a partition", oneOfAll, {}, ["users"]],
    ["a table of wide values", wide, { partBytes: limits.partBytes }, ["users"]],
    ["a table with row security that is not for its owner", policy("public.users"), {}, ["users"]],
    ["a table, by a role that may only read", grant, { role }, ["users"]],
    ["partitions of partitions", nested, {}, nestedLeaves],
    ["partitions with a filter", nested, premium, nestedLeaves],
    ["the one partition that a filter leaves", nested, { ...ukOnly, partBytes: 16 * KIB }, ["uk"]],
    ["the one partition of which others are foreign", partlyForeign, ukOnly, ["uk"]],
    ["partitions, by a role that may only read", countries + grant, { role }, ["de", "uk", "us"]],
    [
      "partitions, of which the one with an index is one part",
      indexed,
      { parameters: { min_ltv: "9800" }, partPages: 10 },
      ["de", "uk whole", "us"]
    ]
  ])("%s", async (_, setup, reading, scans) => {
    const { plan, parts } = await read(setup, reading)
    expect(plan.reason).toBe(scans.length > 1 ? "partitions and ranges of pages" : "ranges of pages")
    const found = plan.split.kind === "scans" ? plan.split.scans : []
    expect(found.map(({ table, pagesPerPart }) => table + (pagesPerPart === undefined ? " whole" : ""))).toEqual([...scans])
    expect(parts.length).toBe(plan.parts)
    expect(parts.filter(({ length }) => length > 0).length).toBeGreaterThan(2)
  })

  test("a table as it was at the snapshot, whatever was changed, deleted and added since", async () => {
    const meanwhile = `update public.users set name = upper(name); delete from public.users where id % 3 = 0;
      insert into public.users select -id, name, email, signup_date, country_code, subscription_tier, 7 from public.users`
    const { plan, rows, whole } = await read("create table public.other ()", { meanwhile })
    expect(plan.parts).toBeGreaterThan(49)
    expect([rows, whole.includes("ADA")]).toEqual([USERS, false])
  })

  test("a range of pages without reading the others", async () => {
    const { statements } = await read(noIndexes, { ...everyFilter, partPages: 9 })
    const sql = await connect((await databaseOf(noIndexes)).href, 1)
    expect(statements.length).toBeGreaterThan(2)
    for (const statement of statements) {
      const [, query] = /^copy \((.*)\) to stdout/.exec(statement)!
      const [{ "QUERY PLAN": explained }] = (await sql.unsafe(`explain (format json) ${query}`)) as unknown as [Explained]
      expect(explained[0]!.Plan["Node Type"]).toBe("Tid Range Scan")
    }
  })
})

const hostile = [
  "",
  "\n",
  "é😀",
  ...String.raw`x' or '1'='1|\|\' or 1=1 -- |'; drop table users; --|''|e'\'|\x27|"|$1|$$|%`.split("|")
]
const withHostile = `${noIndexes} insert into public.users select -n, 'n', 'e', now(), 'US', tier, 1
  from json_array_elements_text($json$${JSON.stringify(hostile)}$json$) with ordinality tiers (tier, n);`
const oldStrings = `do $do$ begin execute format('alter database %I set standard_conforming_strings = off', current_database()); end $do$;`

test.each([
  ["", withHostile],
  [", where strings are not standard", withHostile + oldStrings]
])("a filter finds exactly its value, whatever that is%s", async (_, setup) => {
  for (const [at, subscription_tier] of hostile.entries()) {
    const { plan, whole } = await read(setup, {
      parameters: { columns: "id" },
      filters: [["subscription_tier", `eq.${subscription_tier}`]],
      partPages: 100
    })
    expect([plan.parts, whole.toString()]).toEqual([7, `${-1 - at}\n`])
  }
})

const unionOfNamesakes =
  ["a", "b", "c"]
    .map((name) => `create schema ${name}; create table ${name}.users as select * from public.users limit 9;`)
    .join("") +
  `drop table public.users; create view public.users as table a.users union all table b.users union all table c.users`
const hidden = `create schema hidden; ${partitioned(leaf("US", "hidden.us"), leaf("UK"), leaf("DE"))} ${loaded} ${grant}
  grant select on hidden.us to ${READER}`
const someColumns = `grant select (${userColumns.join()}) on public.users to ${READER}`

describe("an export is read correctly from a relation that is not what it seems:", () => {
  test.each<readonly [string, Setup, Reading]>([
    ["a view of tables that have its name", unionOfNamesakes, {}],
    ["a partition in a schema that the role may not use", hidden, { role }],
    ["a table of which the role may read columns alone", someColumns, { role }],
    ["the dialect of a backslash where strings are not standard", oldStrings, { parameters: { delimiter: "\\" } }]
  ])("%s", async (_, setup, reading) => {
    await read(setup, reading)
  })
})
