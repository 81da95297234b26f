import { type Statement } from "../../source/statement.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import { relationName } from "../../source/identifier.ts"

/** Common table expressions: `dataset` is the relation that $1 names, and `tree` is that relation with all its descendants. */
export const RELATION_TREE = `
    with recursive dataset as (
      select to_regclass($1::text)::oid as root
    ), tree as (
      select root as oid from dataset
      union all select inhrelid from tree join pg_inherits on inhparent = tree.oid
    )`

/**
 * Selects the relations of a dataset for `planRows`, a row each: the partitions of a partitioned table, else the relation
 * itself. Their sizes are read after the snapshot is taken, so they cover all that it shows.
 *
 * A partition is read by its own name only where that returns the rows that the dataset returns: row security and the
 * expressions of virtual columns may differ, and the role needs privileges on the partition itself. `ctid` needs a
 * privilege on the whole table. `pg_partition_tree` is not used, since it locks partitions that the query leaves out.
 */
export const relationsStatement = (dataset: Pick<Dataset, "schema" | "table">): Statement => ({
  text: `
    ${RELATION_TREE}
    select n.nspname as schema, c.relname as table, c.oid::text as oid, root::text as root,
      coalesce(a.amname = 'heap', false) and has_table_privilege(c.oid, 'select')
        and current_setting('server_version_num')::int >= 140000 as "hasPages",
      c.relkind in ('r', 'm', 'f') and not c.relhassubclass and not row_security_active(root)
        and (c.oid = root
          or has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') and not row_security_active(c.oid)
            and not exists (select from pg_attribute g where attrelid = c.oid and to_jsonb(g) ->> 'attgenerated' = 'v')) as "isSameAlone",
      c.relkind = 'f' as "isForeign",
      (pg_relation_size(c.oid) / current_setting('block_size')::int)::float8 as pages,
      pg_table_size(c.oid)::float8 as bytes
    from tree join dataset on true join pg_class c on c.oid = tree.oid
      join pg_namespace n on n.oid = c.relnamespace left join pg_am a on a.oid = c.relam
    where c.relkind <> 'p'`,
  values: [relationName(dataset)]
})
