import { byName, type Column } from "./column.ts"
import { type Statement } from "../source/statement.ts"
import type { AllowedRelation } from "./allow-list.ts"
import type { Dataset, RelationKind } from "./dataset.ts"

/** A relation as the catalog describes it. */
export interface RelationRow {
  readonly schema: string
  readonly table: string
  readonly kind: "r" | "p" | "f" | "v" | "m"
  readonly comment: string | null
  readonly rows: number | null
  readonly bytes: number | null
  readonly columns: ReadonlyArray<Omit<Column, "label" | "filterable">> | null
  readonly key: ReadonlyArray<string> | null
}

/**
 * Writes the query for the relations of the allow-list that the role may read, with the columns that it may read.
 * Statistics of a partitioned table are those of its partitions. Functions such as pg_table_size are not called, since
 * they wait for locks.
 *
 * A type is ordered if it has a default operator class for B-trees: its own, that of a type that it is stored as, or that
 * of all enums, of all ranges, or of arrays of an ordered type. Types such as regclass are not ordered here, since a
 * filter by one would reveal what else exists. Nor are the types of statistics: values cannot be cast to `anyarray`, nor
 * to those that are stored as `bytea`, of the category Z.
 */
export const datasetsStatement = (allowed: ReadonlyArray<AllowedRelation>): Statement => ({
  text: `
    with recursive allowed as (
      select * from json_to_recordset($1::text::json) as a(schema text, "table" text)
    ), named as (
      select c.oid, n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'f', 'v', 'm') and has_schema_privilege(n.oid, 'usage')
        and exists (select from allowed a where a.schema = n.nspname
          and (a."table" = c.relname or a."table" is null and not exists (select from pg_inherits where inhrelid = c.oid)))
    ), tree as (
      select oid as root, oid from named
      union all select root, inhrelid from tree join pg_inherits on inhparent = tree.oid
    ), statistics as (
      select root, sum(c.reltuples)::float8 as rows, (sum(c.relpages) * current_setting('block_size')::int)::float8 as bytes
      from tree join pg_class c on c.oid = tree.oid where c.relkind in ('r', 'm') and c.reltuples >= 0 group by root
    ), bases as (
      select oid as type, oid as base from pg_type where typtype <> 'd'
      union all select t.oid, b.base from bases b join pg_type t on t.typbasetype = b.type and t.typtype = 'd'
    ), sorted as (
      select o.opcintype as type from pg_opclass o join pg_am a on a.oid = o.opcmethod and a.amname = 'btree'
        join pg_type t on t.oid = o.opcintype where o.opcdefault and t.typtype <> 'p'
          and exists (select from pg_operator where oprname = '<' and oprleft = t.oid and oprright = t.oid)
      union select t.oid from pg_type t where t.typtype in ('e', 'r', 'm')
    ), ordered as (
      select type from sorted
      union select c.castsource from pg_cast c join sorted on c.casttarget = sorted.type join pg_type t on t.oid = c.castsource
        where c.castmethod = 'b' and c.castcontext = 'i' and t.typcategory <> 'Z' and c.castsource::regtype::text not like 'reg%'
    )
    select n.nspname as schema, n.relname as table, n.relkind as kind, obj_description(n.oid, 'pg_class') as comment,
      s.rows, s.bytes,
      (select json_agg(json_build_object('name', attname, 'number', attnum, 'type', format_type(atttypid, atttypmod),
          'base', format_type(b.base, -1), 'category', t.typcategory,
          'ordered', b.base in (select type from ordered)
            or t.typcategory = 'A' and (t.typelem in (select type from ordered)),
          'nullable', not attnotnull, 'comment', col_description(n.oid, attnum)) order by attnum)
        from pg_attribute join bases b on b.type = atttypid join pg_type t on t.oid = b.base
        where attrelid = n.oid and attnum > 0 and not attisdropped
          and has_column_privilege(n.oid, attnum, 'select')) as columns,
      (select json_agg(a.attname order by k.place)
        from pg_index i, unnest(i.indkey::int2[]) with ordinality as k (attnum, place), pg_attribute a
        where i.indrelid = n.oid and i.indisprimary and k.place <= i.indnkeyatts
          and a.attrelid = i.indrelid and a.attnum = k.attnum) as key
    from named n left join statistics s on s.root = n.oid
    order by n.nspname, n.relname`,
  values: [JSON.stringify(allowed.map(({ schema, table = null }) => ({ schema, table })))]
})

const kinds: Readonly<Record<RelationRow["kind"], RelationKind>> = {
  r: "table",
  p: "partitioned table",
  f: "foreign table",
  v: "view",
  m: "materialized view"
}

/** Makes a dataset of a relation, before any definition applies. Undefined if no column may be read. */
export const toDataset = ({ schema, table, kind, comment, rows, bytes, columns, key }: RelationRow): Dataset | undefined => {
  if (!columns) return undefined
  const all = byName(columns.map((column) => ({ ...column, label: column.name, filterable: true })))
  return {
    name: schema === "public" ? table : `${schema}.${table}`,
    schema,
    table,
    kind: kinds[kind],
    comment,
    columns: all,
    key: key?.every((name) => all.has(name)) ? key : [],
    estimatedRows: rows,
    estimatedBytes: bytes,
    parameters: {},
    conditions: [],
    order: [],
    maxRows: undefined
  }
}
