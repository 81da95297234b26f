import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { drizzle } from "drizzle-orm/postgres-js"
import { migrate } from "drizzle-orm/postgres-js/migrator"
import { Effect } from "effect"
import postgres from "postgres"
import { limits } from "../limits.ts"
import { toDatabaseError } from "./app-database.ts"

/** The key of the advisory lock for migrations ("slui"), since several instances may start together. */
const MIGRATION_LOCK = 0x736c7569

/** Finds `drizzle/` at the top of the project. This file runs from `src/postgres` or, bundled, from `dist`. */
const migrationsFolder = (): string => {
  for (let folder = import.meta.dir; ; folder = dirname(folder)) {
    const candidate = join(folder, "drizzle")
    if (existsSync(join(candidate, "meta", "_journal.json"))) return candidate
    if (folder === dirname(folder)) throw new Error(`there is no folder drizzle above ${import.meta.dir}`)
  }
}

/** Brings the schema `sluice` up to date, and returns the id of the database. Several instances may call it at once. */
export const migrateDatabase = (url: string) =>
  Effect.tryPromise({
    try: async () => {
      const sql = postgres(url, {
        max: 1,
        connect_timeout: limits.appConnectSeconds,
        onnotice: () => {},
        connection: { application_name: "sluice migrations", lock_timeout: limits.migrateMs }
      })
      try {
        await sql`select pg_advisory_lock(${MIGRATION_LOCK})`
        await migrate(drizzle(sql), { migrationsFolder: migrationsFolder(), migrationsSchema: "sluice" })
        await sql`insert into sluice.identity select gen_random_uuid() where not exists (select from sluice.identity)`
        const [row] = await sql<Array<{ id: string }>>`select id from sluice.identity`
        return row!.id
      } finally {
        await sql.end({ timeout: 5 })
      }
    },
    catch: toDatabaseError("migrate the database")
  })
