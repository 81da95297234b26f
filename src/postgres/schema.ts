import { sql } from "drizzle-orm"
import {
  bigint,
  bigserial,
  boolean,
  char,
  index,
  integer,
  jsonb,
  pgSchema,
  smallint,
  text,
  timestamp,
  uuid
} from "drizzle-orm/pg-core"
import type { ExportStatus, TruncatedBy } from "../exports/export-job.ts"
import type { ExportSpec } from "../exports/export-spec.ts"

export const sluice = pgSchema("sluice")

const time = (name: string) => timestamp(name, { withTimezone: true, mode: "date" })

/** One row an export: the truth about it. The queue only says who should look at it next. */
export const exports = sluice.table(
  "exports",
  {
    id: uuid("id").primaryKey(),
    /** The order of creation, and the cursor of the list. */
    sequence: bigserial("sequence", { mode: "number" }).notNull().unique(),
    dataset: text("dataset").notNull(),
    spec: jsonb("spec").$type<ExportSpec>().notNull(),
    /** Nobody reads it. The version before this one writes it, so a later one may drop it. */
    fingerprint: char("fingerprint", { length: 64 }),
    status: text("status").$type<ExportStatus>().notNull().default("pending"),
    /** The attempt that may write: each claim raises it, so an earlier worker's writes change no row. */
    epoch: integer("epoch").notNull().default(0),
    /** Attempts that ended in a failure of the source. */
    failures: integer("failures").notNull().default(0),
    /** Attempts that nobody ended, because their process died. */
    crashes: integer("crashes").notNull().default(0),
    /** When the source that the attempt waits for became unreachable. */
    waitingSince: time("waiting_since"),
    totalRows: bigint("total_rows", { mode: "number" }),
    totalRowsExact: boolean("total_rows_exact").notNull().default(false),
    processedRows: bigint("processed_rows", { mode: "number" }).notNull().default(0),
    percentage: smallint("percentage").notNull().default(0),
    error: text("error"),
    bytes: bigint("bytes", { mode: "number" }),
    crc32: char("crc32", { length: 8 }),
    sha256: text("sha256"),
    /** The limit of the operator that left rows out of the file. */
    truncatedBy: text("truncated_by").$type<TruncatedBy>(),
    /** The export has ended without a file to serve, and nothing of it is stored any more. */
    filesRemoved: boolean("files_removed").notNull().default(false),
    createdAt: time("created_at").notNull().defaultNow(),
    startedAt: time("started_at"),
    completedAt: time("completed_at"),
    expiresAt: time("expires_at")
  },
  (table) => [
    index("exports_status_expires_at").on(table.status, table.expiresAt),
    index("exports_completed_at").on(table.completedAt),
    index("exports_files")
      .on(table.id)
      .where(sql`not files_removed and status in ('failed', 'cancelled', 'expired')`)
  ]
)

/**
 * The identity of this app database, in one row. In a storage that several databases share, it is the name of the folder
 * of this database.
 */
export const identity = sluice.table("identity", { id: uuid("id").primaryKey().defaultRandom() })
