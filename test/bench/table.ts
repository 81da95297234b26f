/** The table that is exported. */
import { Effect } from "effect"
import postgres from "postgres"
import { toBenchError } from "./case.ts"

const withClient = <A>(what: string, url: string, use: (sql: postgres.Sql) => Promise<A>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => postgres(url, { max: 1, onnotice: () => {} })),
    (sql) => Effect.tryPromise({ try: () => use(sql), catch: toBenchError(what) }),
    (sql) => Effect.promise(() => sql.end({ timeout: 1 }))
  )

/**
 * Drops the table when an earlier run left it with another number of rows; seeding skips it otherwise. And the
 * service's own tables: an export that was broken off would start anew.
 */
export const dropLeftovers = (url: string, rows: number) =>
  withClient("prepare the table", url, async (sql) => {
    await sql`drop schema if exists sluice, sluice_queue cascade`
    const [found] = await sql`select to_regclass('public.users') is not null as seeded`
    if (found!["seeded"] && (await sql`select count(*)::int as rows from public.users`)[0]!["rows"] !== rows) {
      await sql`drop table public.users`
    }
  })

/** Reads all pages of the table, so that each case finds them in memory: the system may have dropped those of a while ago. */
export const warmTable = (url: string) =>
  withClient("read the table", url, async (sql) => {
    await sql`set enable_indexonlyscan = off`
    await sql`set enable_indexscan = off`
    await sql`select count(*) from users`
  })

/** How many bytes COPY makes of the table. */
export const copyBytes = (url: string) =>
  withClient("read the table", url, async (sql) => {
    let bytes = 0
    const copy = await sql`copy (select * from users) to stdout (format csv, header)`.readable()
    for await (const chunk of copy) bytes += (chunk as Buffer).length
    return bytes
  })
