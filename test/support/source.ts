import type postgres from "postgres"
import { connect, USERS } from "./shared-service.ts"
import { until } from "./until.ts"

const clients = new Map<string, Promise<postgres.Sql>>()
/** Returns the only client that looks at a database from outside, which tests use often. */
const observer = (database: string): Promise<postgres.Sql> => {
  const client = clients.get(database) ?? connect(database, 2)
  clients.set(database, client)
  return client
}

/**
 * Puts a view of `rows` rows in the place of the table `users`: large enough to be caught in the middle of an
 * export, without loading anything. The rows come from the select list, which PostgreSQL evaluates as it goes.
 */
export const makeUsersLarge = async (database: string, rows: number): Promise<void> => {
  const sql = await observer(database)
  const [kind] = await sql`select relkind = 'v' as view from pg_class where oid = to_regclass('public.users')`
  await sql.unsafe(`
    drop ${kind?.["view"] ? "view" : "table"} if exists public.users;
    create view public.users as
    select i as id, 'Ada Lovelace'::text as name, 'user' || i || '@example.com' as email, timestamptz '2015-01-01' as signup_date,
      'US'::char(2) as country_code, 'free'::text as subscription_tier, (i % 1000)::numeric(12,2) as lifetime_value
    from (select generate_series(1::bigint, ${rows}) as i) numbered`)
}

/**
 * Puts a heap with `times` as many rows as the template's in the place of the table `users`: large enough to be read
 * in many parts.
 */
export const multiplyUsers = async (database: string, times: number): Promise<void> => {
  const sql = await observer(database)
  await sql.unsafe(`
    create table public.multiplied as
    select id + n * ${USERS} as id, name, email, signup_date, country_code, subscription_tier, lifetime_value
    from generate_series(0, ${times - 1}) n, public.users order by 1;
    alter table public.multiplied add primary key (id);
    drop table public.users; alter table public.multiplied rename to users; analyze public.users`)
}

/** Returns the process ids of the sessions that read exports in this database, the oldest first. */
export const sourceBackends = async (database: string): Promise<Array<number>> => {
  const sql = await observer(database)
  const rows = await sql<Array<{ pid: number }>>`
    select pid from pg_stat_activity where application_name = 'sluice source' and datname = current_database()
    order by backend_start`
  return rows.map(({ pid }) => pid)
}

export const sourceIsBusy = (database: string) =>
  until("an export to read its source", async () => {
    const pids = await sourceBackends(database)
    return pids.length > 0 && pids
  })

/** Waits until `exports` exports of the database wait for the lock of a table. */
export const sourceWaits = (database: string, exports = 1) =>
  until(`${exports} to wait for a table`, async () => {
    const sql = await observer(database)
    const [row] = await sql`select count(*)::int as waiting from pg_stat_activity
      where application_name = 'sluice source' and wait_event = 'relation' and datname = current_database()`
    return row!["waiting"] === exports
  })

/** Waits until no session reads an export. Fails after a second, the limit in the contract. */
export const sourceIsLeft = (database: string) =>
  until("all source backends to be gone", async () => (await sourceBackends(database)).length === 0, 1_000)

export const terminateSource = async (database: string): Promise<void> => {
  const sql = await observer(database)
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'sluice source' and datname = current_database()`
}

/** Ends the newest session of an export, which is that of a reader if the export has one. */
export const terminateNewest = async (database: string): Promise<void> => {
  const sql = await observer(database)
  const pids = await sourceBackends(database)
  await sql`select pg_terminate_backend(${pids.at(-1)!})`
}
