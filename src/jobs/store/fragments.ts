import type postgres from "postgres"
import { transitions, type Transition } from "../../exports/export-job.ts"
import type { Attempt } from "../../storage/export-storage.ts"

/** Channels: an export changed; an export was cancelled. The payload is its id. */
export const channels = { changed: "sluice_changed", cancelled: "sluice_cancelled" } as const

/** A condition: the export's status is one from which the table allows the transition. */
export const from = (sql: postgres.Sql, transition: Transition) => sql`status in ${sql([...transitions[transition].from])}`

/** The status after the transition, as an assignment or as a condition. */
export const to = (sql: postgres.Sql, transition: Transition) => sql`status = ${transitions[transition].to}`

/** A condition: the attempt is the last one of its export. Every write by which an attempt changes its own job has it. */
export const fencedBy = (sql: postgres.Sql, { id, epoch }: Attempt) => sql`id = ${id} and epoch = ${epoch}`

/** Runs an update, notifies every instance of the rows that it changed, and returns their ids. */
export const withNotify = (sql: postgres.Sql, update: postgres.Fragment) =>
  sql<Array<{ id: string }>>`
    with changed as (${update} returning id) select id, pg_notify(${channels.changed}, id::text) from changed`
