import { fingerprint, toStoredSpec, type ExportSpec } from "../exports/export-spec.ts"

/** The parameter that holds the queue's own values in the statement that pg-boss makes. */
const DELIVERED = "$1"

/** SQL with its bound values. */
interface Insert {
  /** Inserts a row, or none, and returns its id. Its parameters begin at `$2`. */
  readonly text: string
  readonly values: ReadonlyArray<string | number>
}

/**
 * Inserts an export unless `limit` others are unfinished. Statements that run at the same moment do not see each other's
 * row: each client connection of each instance may add one beyond the limit.
 */
export const insertExport = (id: string, spec: ExportSpec, limit: number): Insert => ({
  text: `insert into sluice.exports (id, dataset, spec, fingerprint)
    select $2::text::uuid, $3::text, $4::text::jsonb, $5::text
    where (select count(*) from (select from sluice.exports where status in ('pending', 'processing') limit $6::int) unfinished) < $6
    returning id`,
  values: [id, spec.dataset, JSON.stringify(toStoredSpec(spec)), fingerprint(spec), limit]
})

/**
 * Puts an export's insert before that of its delivery, so that one statement stores both or neither. A transaction would
 * not do: what postgres.js sends to end one may be written to a connection that is gone. The delivery is stored when the
 * export is.
 *
 * pg-boss makes a statement of the form `with ins as (insert … $1 …) select …`. Another one is refused.
 */
export const withDelivery = (delivery: string, insert: Insert): string => {
  const [, rest] = /^\s*with\s(.*)$/is.exec(delivery) ?? []
  if (rest === undefined || !rest.includes(DELIVERED) || rest.includes("$2"))
    throw new Error(`Cannot store an export together with its delivery: the queue's statement is ${delivery}`)
  const ifCreated = `(select ${DELIVERED}::text from created)`
  return `with created as (${insert.text}), ${rest.replaceAll(DELIVERED, () => ifCreated)}`
}
