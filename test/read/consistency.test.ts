/** Changes between the snapshot of an export and the locks that its plan takes, to relations that were not locked before. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { Effect } from "effect"
import type postgres from "postgres"
import { toExportSpec } from "../../src/exports/parameters.ts"
import { datasetsStatement, toDataset, type RelationRow } from "../../src/datasets/catalog.ts"
import { openSession, type SourceSession } from "../../src/source/session.ts"
import type { SourceError } from "../../src/source/source-error.ts"
import { selectStatement } from "../../src/read/sql/statement.ts"
import { checkUnchanged, lockDataset } from "../../src/read/consistency.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

const setup = `
  create schema s;
  create table s.plain as select n as id from generate_series(1, 10) n;
  create materialized view s.sums as select count(*) as n from s.plain;
  create view s.shown as select * from s.plain;
  create table s.parent (id int); create table s.child () inherits (s.parent);
  create table s.days (day int) partition by range (day);
  create table s.early partition of s.days for values from (0) to (100);
  create table s.late partition of s.days for values from (100) to (200) partition by range (day);
  create table s.late_a partition of s.late for values from (100) to (150);
  create table s.late_b partition of s.late for values from (150) to (200);
  create table s.others partition of s.days default;
  insert into s.days select n from generate_series(0, 299) n;
  create table s.prepared as select n as day from generate_series(200, 299) n`

let database: string
let sql: postgres.Sql
beforeAll(async () => {
  database = await freshDatabase()
  sql = await connect(database, 1)
})
afterAll(async () => {
  await sql.end()
})

const datasetOf = async (connection: SourceSession, table: string) => {
  const [row] = await connection.query<RelationRow>(datasetsStatement([{ schema: "s", table }]))
  return toDataset(row!)!
}

/** Plans an export of a table of `setup` that changes after the snapshot was taken. Fails as the plan fails. */
const planned = (table: string, change: string, before: (connection: SourceSession) => Promise<unknown> = async () => {}) =>
  Effect.gen(function* () {
    const catalog = yield* openSession(database)
    const connection = yield* openSession(database)
    return yield* Effect.promise(async () => {
      const dataset = await datasetOf(catalog, table)
      await catalog.commit()
      await before(connection)
      await connection.query({ text: "select 1", values: [] })
      await sql.unsafe(change)
      const spec = toExportSpec({}, dataset)
      const { text, values } = selectStatement(spec, dataset)
      await connection.query({ text: `explain ${text}`, values })
      return checkUnchanged(connection, spec, dataset).then(
        () => "unchanged",
        ({ message, retryable }: SourceError) => `${message}${retryable ? "; it is tried again" : ""}`
      )
    })
  }).pipe(Effect.scoped, Effect.runPromise)

describe("a change that the snapshot cannot show makes the export start again", () => {
  test.each([
    [
      "a table that is rewritten",
      "plain",
      "drop view s.shown; drop materialized view s.sums; alter table s.plain alter column id type int using id + 1",
      "plain"
    ],
    ["a table that is truncated", "plain", "truncate s.plain", "plain"],
    [
      "a table that is replaced by another",
      "plain",
      "create table s.next as table s.plain; alter table s.plain rename to past; alter table s.next rename to plain",
      "s.plain"
    ],
    ["a materialized view that is refreshed", "sums", "refresh materialized view s.sums", "sums"],
    [
      "a view that reads another table now",
      "shown",
      "create table s.next as table s.plain; create or replace view s.shown as select * from s.next",
      "s.next"
    ],
    [
      "a partition that is replaced",
      "days",
      "create table s.next as table s.early; drop table s.early; alter table s.days attach partition s.next for values from (0) to (100)",
      "early"
    ],
    [
      "a partition whose rows were moved to another",
      "days",
      "alter table s.days detach partition s.early; insert into s.days select day + 300 from s.early; drop table s.early",
      "early"
    ],
    ["a partition of a partition that is dropped", "days", "drop table s.late_a", "late_a"],
    ["a partition that was detached", "days", "alter table s.days detach partition s.late", "late"],
    [
      "a table with the rows of a partition that becomes another",
      "days",
      "delete from s.others where day < 300; alter table s.days attach partition s.prepared for values from (200) to (300)",
      "prepared"
    ]
  ])("%s", async (_, table, change, changed) => {
    await sql.unsafe(`drop schema if exists s cascade; ${setup}`)
    expect(await planned(table, change)).toBe(
      `Cannot read s.${table}: the table ${changed} was changed just now; it is tried again`
    )
  })
})

describe("a change that the snapshot can show does not", () => {
  test.each([
    ["rows", "days", "delete from s.days where day % 2 = 0; insert into s.days select n from generate_series(0, 99) n"],
    ["an index", "plain", "create index on s.plain (id)"],
    ["another table", "plain", "create table s.further (id int); drop table s.prepared"],
    [
      "a new partition, whose rows no snapshot has yet",
      "late",
      "create table s.fresh (day int); alter table s.days attach partition s.fresh for values from (300) to (400)"
    ],
    ["nothing, of a partition", "early", "select"],
    ["nothing, of a partition with partitions", "late", "select"],
    ["nothing, of a table with a child", "parent", "select"],
    ["nothing, of a materialized view", "sums", "select"]
  ])("%s", async (_, table, change) => {
    await sql.unsafe(`drop schema if exists s cascade; ${setup}`)
    expect(await planned(table, change)).toBe("unchanged")
  })
})

/** Locks a table of `setup` as an export does. */
const locking = (table: string) => async (connection: SourceSession) => {
  const [row] = await sql<Array<RelationRow>>`select 's' as schema, ${table} as table, relkind as kind, '[]'::json as columns
    from pg_class where oid = ${`s.${table}`}::regclass`
  await lockDataset(connection, toDataset(row!)!)
}

describe("an export locks before its snapshot", () => {
  test.each([
    ["a table", "plain", "truncate s.plain"],
    ["a view and what it shows", "shown", "truncate s.plain"],
    ["a partitioned table", "days", "drop table s.early"]
  ])("%s", async (_, table, change) => {
    await sql.unsafe(`drop schema if exists s cascade; ${setup}`)
    const blocked = planned(table, `begin; set local lock_timeout = '50ms'; ${change}; commit`, locking(table))
    expect(await blocked.then(String, (error: Error) => error.message)).toContain("lock timeout")
    await sql.unsafe("rollback")
  })

  test("no partition, which the export may leave out, and no materialized view", async () => {
    await sql.unsafe(`drop schema if exists s cascade; ${setup}`)
    expect(await planned("days", "begin; lock table s.early; commit", locking("days"))).toBe("unchanged")
    expect(await planned("sums", "begin; lock table s.plain; commit", locking("sums"))).toBe("unchanged")
  })
})
