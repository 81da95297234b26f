import { type Column, jsonTypeOf } from "../datasets/column.ts"
import { type Statement } from "../source/statement.ts"
import { leavesOf } from "../datasets/filters/conditions.ts"
import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { SourceSession } from "../source/session.ts"
import { SourceError, sqlState } from "../source/source-error.ts"
import { relationName } from "../source/identifier.ts"
import { RELATION_TREE } from "./plan/table-layout.ts"

/**
 * Guards against changes of the schema between the request and the last row. Others may change at any moment what an
 * export reads; each moment has its guard:
 *
 *     t0  request    columns and types are stored in the spec          (exports/parameters.ts)
 *     t1  lock       `lockDataset` waits for whoever replaces the table: a later snapshot shows what was put into it
 *     t2  snapshot   taken by the first query after the lock; `checkColumns` before it finds columns that are gone or hidden
 *     t3  plan       EXPLAIN locks the relations of the query; `checkUnchanged` finds columns of other types, and tables,
 *                    partitions and files that changed between t2 and these locks. Locked relations then stay as they are
 *     t4  each part  names its relation anew, in sessions that hold no lock of t3: `ifPlanned` in sql/statement.ts fails the
 *                    part when the name stands for another relation, or when row security hides rows
 */

/**
 * What cannot be locked is read without: a materialized or foreign table is no table to LOCK, a role may have columns
 * alone, a table more partitions than there is room for locks, and some servers know no such statement.
 */
const isUnlockable = (error: SourceError) => ["42501", "42809", "53200", "42601", "0A000"].includes(sqlState(error))

/**
 * Locks the dataset, and what it is made of, before the snapshot is taken. We may wait here for somebody who replaces a
 * table, a partition or a view: to a snapshot taken before, what was put into the new one would not be there yet, and the
 * old one is gone. Of a partitioned table only itself, so that an export waits for no partition that it leaves out.
 * @see https://www.postgresql.org/docs/current/sql-lock.html
 */
export const lockDataset = async (session: SourceSession, dataset: Dataset): Promise<void> => {
  const only = dataset.kind === "partitioned table" ? "only " : ""
  const run = (text: string) => session.query({ text, values: [] })
  const lock = `lock table ${only}${relationName(dataset)} in access share mode`
  // No snapshot can be exported of a transaction with a savepoint.
  await run(`savepoint unlocked; ${lock}; release savepoint unlocked`).catch(async (error: SourceError) => {
    if (!isUnlockable(error)) throw error
    await run("rollback to savepoint unlocked; release savepoint unlocked")
  })
}

interface Found {
  readonly columns: ReadonlyArray<Pick<Column, "name" | "number" | "type">> | null
  readonly changed: string | null
}

/**
 * The columns as the snapshot has them, and what changed between the snapshot and the locks that the plan took, if
 * something did: a table that was rewritten, by ALTER TABLE, TRUNCATE or REFRESH, to the snapshot would be empty, and so
 * would one that was made; a partition that left would take rows with it, one that came bring some again. Catalogs are
 * seen as of the snapshot, functions see them as they are.
 * @see https://www.postgresql.org/docs/current/mvcc-caveats.html
 */
const foundStatement = (dataset: Dataset): Statement => ({
  text: `
    ${RELATION_TREE}, locked as (
      select relation as oid from pg_locks where pid = pg_backend_pid() and locktype = 'relation'
    ), changed as (
      select oid from locked left join pg_class c using (oid)
      where c.oid is null and pg_get_indexdef(oid) is null
        or c.relkind in ('r', 'm') and c.relfilenode <> 0 and pg_relation_filenode(oid) is distinct from c.relfilenode
      union all select oid from dataset, tree join pg_class c using (oid)
      where c.relispartition and root not in (select relid from pg_partition_ancestors(oid))
      union all select oid from dataset, locked
      where oid not in (select oid from tree) and root in (select relid from pg_partition_ancestors(oid))
    )
    select
      (select json_agg(json_build_object('name', attname, 'number', attnum, 'type', format_type(atttypid, atttypmod)))
        from dataset, pg_attribute where attrelid = root and attnum > 0 and not attisdropped) as columns,
      (select min(coalesce(c.relname, oid::regclass::text)) from changed left join pg_class c using (oid)) as changed`,
  values: [relationName(dataset)]
})

/**
 * Fails when what is read is not what was asked for: called when the query is planned, so that its tables are locked.
 * From then on they stay as they are.
 */
export const checkUnchanged = async (session: SourceSession, spec: ExportSpec, dataset: Dataset): Promise<void> => {
  const [found] = await session.query<Found>(foundStatement(dataset))
  const { columns, changed } = found!
  if (changed !== null) {
    const message = `Cannot read ${dataset.name}: the table ${changed} was changed just now`
    throw new SourceError({ message, retryable: true })
  }
  const now = new Map(columns?.map((column) => [column.name, column]))
  for (const { name, type } of spec.columns) {
    const column = now.get(name)
    if (column?.type !== type) throw isOther(dataset, name, column ? changedType(column.type, type) : GONE)
  }
  // One that was hidden may bear the name of another since the catalog was read.
  const renamed = namesOf(spec).find((name) => now.get(name)?.number !== dataset.columns.get(name)?.number)
  if (renamed !== undefined) throw isOther(dataset, renamed, "is another one now")
  if (dataset.conditions.some(({ column }) => now.get(column.name)?.number !== column.number)) throw doesNotFit(dataset)
}

/** The columns that an export has to do with. */
const namedIn = ({ columns, conditions, order }: ExportSpec) => [
  ...columns.map(({ name, path }) => ({ column: name, path })),
  ...leavesOf(conditions),
  ...order
]
const namesOf = (spec: ExportSpec) => namedIn(spec).map(({ column }) => column)

const GONE = "is gone"
const changedType = (now: string, then: string) => `is ${now} now, and was ${then} when the export was asked for`
const isOther = ({ name }: Dataset, column: string, change: string) =>
  new SourceError({ message: `Cannot export ${name}: its column ${column} ${change}`, retryable: false })

/** Replaces the error of a missing column that only the dataset's definition names: it may be hidden. */
export const withoutHidden = (error: SourceError, dataset: Dataset): SourceError => {
  const isMissing = sqlState(error) === "42703"
  return isMissing && dataset.conditions.length > 0 ? doesNotFit(dataset) : error
}

/** Without a name: it may be hidden. */
const doesNotFit = ({ name }: Dataset) =>
  new SourceError({ message: `Cannot export ${name}: its definition does not fit its columns any more`, retryable: false })

/** Fails when the dataset does not have a column any more, or hides it now, that the export names. */
export const checkColumns = (spec: ExportSpec, dataset: Dataset): void => {
  for (const { column, path } of namedIn(spec)) {
    const now = dataset.columns.get(column)
    if (!now) throw isOther(dataset, column, GONE)
    if (path && !jsonTypeOf(now)) throw isOther(dataset, column, `is ${now.type} now, which has no paths`)
  }
}
