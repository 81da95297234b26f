import { toStoredSpec, type ExportSpec } from "../../exports/export-spec.ts"

/** The parameter for the queue's own values in the statement of pg-boss. */
const DELIVERED = "$1"

/** SQL with its bound values. */
interface Insert {
  /** Inserts a row, or none, and returns its id. Its parameters begin at `$2`. */
  readonly text: string
  readonly values: ReadonlyArray<string | number>
}

/**
 * Inserts an export unless `limit` others are unfinished. Statements that run at the same moment do not see each other's
 * rows, so each connection of each instance may add one export beyond the limit.
 */
export const insertExport = (id: string, spec: ExportSpec, limit: number): Insert => ({
  text: `insert into sluice.exports (id, dataset, spec)
    select $2::text::uuid, $3::text, $4::text::jsonb
    where (select count(*) from (select from sluice.exports where status in ('pending', 'processing') limit $5::int) unfinished) < $5
    returning id`,
  values: [id, spec.dataset, JSON.stringify(toStoredSpec(spec)), limit]
})

/**
 * Puts the insert of an export before that of its delivery, so that one statement stores both or neither. A transaction
 * is not safe here: postgres.js may write the statement that ends it to a connection that is gone.
 *
 * pg-boss makes a statement of the form `with ins as (insert … $1 …) select …`. A statement of another form is refused.
 */
export const withDelivery = (delivery: string, insert: Insert): string => {
  const [, rest] = /^\s*with\s(.*)$/is.exec(delivery) ?? []
  if (rest === undefined || !rest.includes(DELIVERED) || rest.includes("$2"))
    throw new Error(`Cannot store an export together with its delivery: the queue's statement is ${delivery}`)
  const ifCreated = `(select ${DELIVERED}::text from created)`
  return `with created as (${insert.text}), ${rest.replaceAll(DELIVERED, () => ifCreated)}`
}
