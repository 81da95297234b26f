import { columnsByName, type Column, type Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { SourceConnection } from "./source-connection.ts"
import { SourceError } from "./source-error.ts"
import { relationName } from "./identifier.ts"
import type { Statement } from "./statement.ts"

interface Found {
  readonly columns: ReadonlyArray<Pick<Column, "name" | "number" | "type">> | null
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
      (select json_agg(json_build_object('name', attname, 'number', attnum, 'type', format_type(atttypid, atttypmod)))
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
  const now = new Map(columns?.map((column) => [column.name, column]))
  for (const { name, type } of spec.columns) {
    const column = now.get(name)
    if (column?.type !== type) throw isOther(dataset, name, column ? changedType(column.type, type) : GONE)
  }
  // One that was hidden may bear the name of another since the catalog was read.
  const known = columnsByName(dataset)
  const renamed = namesOf(spec).find((name) => now.get(name)?.number !== known.get(name)?.number)
  if (renamed !== undefined) throw isOther(dataset, renamed, "is another one now")
  if (dataset.conditions.some(({ on }) => now.get(on.name)?.number !== on.number)) throw doesNotFit(dataset)
}

/** The columns that an export has to do with. */
const namesOf = ({ columns, conditions, order }: ExportSpec) => [
  ...columns.map(({ name }) => name),
  ...[...conditions, ...order].map(({ column }) => column)
]

const GONE = "is gone"
const changedType = (now: string, then: string) => `is ${now} now, and was ${then} when the export was asked for`
const isOther = ({ name }: Dataset, column: string, change: string) =>
  new SourceError({ message: `Cannot export ${name}: its column ${column} ${change}`, retryable: false })

/** An error of the plan. A column that is gone may be one of the dataset's conditions, which its definition hides. */
export const withoutHidden = (error: SourceError, dataset: Dataset): SourceError => {
  const isMissing = (error.cause as { code?: string } | undefined)?.code === "42703"
  return isMissing && dataset.conditions.length > 0 ? doesNotFit(dataset) : error
}

/** Without a name: it may be hidden. */
const doesNotFit = ({ name }: Dataset) =>
  new SourceError({ message: `Cannot export ${name}: its definition does not fit its columns any more`, retryable: false })

/** Fails when the dataset does not have a column any more, or hides it now, that the export names. */
export const checkColumns = (spec: ExportSpec, dataset: Dataset): void => {
  const known = columnsByName(dataset)
  const gone = namesOf(spec).find((name) => !known.has(name))
  if (gone !== undefined) throw isOther(dataset, gone, GONE)
}
