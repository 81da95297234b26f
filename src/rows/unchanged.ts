import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { SourceConnection } from "./source-connection.ts"
import { SourceError } from "./source-error.ts"
import { relationName } from "./identifier.ts"
import type { Statement } from "./statement.ts"

interface Found {
  readonly columns: Readonly<Record<string, string>> | null
  readonly rewritten: string | null
}

/**
 * The columns as the snapshot has them, and a table that was rewritten after the snapshot was taken, if there is one:
 * by ALTER TABLE, TRUNCATE or REFRESH while we waited for its lock. To the snapshot it would be empty.
 * @see https://www.postgresql.org/docs/current/mvcc-caveats.html
 */
const foundStatement = (dataset: Dataset): Statement => ({
  text: `
    select
      (select json_object_agg(attname, format_type(atttypid, atttypmod))
        from pg_attribute where attrelid = to_regclass($1::text) and attnum > 0 and not attisdropped) as columns,
      (select min(c.relname) from pg_locks l join pg_class c on c.oid = l.relation
        where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'm') and c.relfilenode <> 0
          and pg_relation_filenode(c.oid) is distinct from c.relfilenode) as rewritten`,
  values: [relationName(dataset)]
})

/**
 * Fails when what is read is not what was asked for: called when the query is planned, so that its tables are locked.
 * From then on they stay as they are.
 */
export const checkUnchanged = async (connection: SourceConnection, spec: ExportSpec, dataset: Dataset): Promise<void> => {
  const [found] = await connection.query<Found>(foundStatement(dataset))
  const { columns, rewritten } = found!
  if (rewritten !== null) {
    const message = `Cannot read ${dataset.name}: the table ${rewritten} was rewritten just now`
    throw new SourceError({ message, retryable: true })
  }
  for (const { name, type } of spec.columns) {
    const now = columns?.[name]
    if (now !== type) throw isOther(dataset, name, now === undefined ? GONE : changedType(now, type))
  }
}

const GONE = "is gone"
const changedType = (now: string, then: string) => `is ${now} now, and was ${then} when the export was asked for`
const isOther = ({ name }: Dataset, column: string, change: string) =>
  new SourceError({ message: `Cannot export ${name}: its column ${column} ${change}`, retryable: false })

/** Fails when the dataset does not have a column any more, or hides it now, that the export names. */
export const checkColumns = (spec: ExportSpec, dataset: Dataset): void => {
  const named = [...spec.columns.map(({ name }) => name), ...[...spec.conditions, ...spec.order].map(({ column }) => column)]
  const gone = named.find((name) => dataset.columns.every((column) => column.name !== name))
  if (gone !== undefined) throw isOther(dataset, gone, GONE)
}
