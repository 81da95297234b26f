import type { Dataset } from "../datasets/dataset.ts"
import { relationName, type Statement } from "./statement.ts"

/**
 * What `planRows` wants to know of a dataset's relations, a row each: the leaves of a partitioned table, else the
 * relation itself. Sizes are asked for after the snapshot is taken, so they cover all that it shows.
 */
export const relationsStatement = (dataset: Dataset): Statement => ({
  text: `
    with dataset as (
      select to_regclass($1::text)::oid as oid
    ), leaf as (
      select relid::oid as oid from dataset, pg_partition_tree(dataset.oid::regclass) where isleaf
    ), relation as (
      select oid from leaf union all select oid from dataset where not exists (select from leaf)
    )
    select n.nspname as schema, c.relname as table,
      coalesce(c.relkind in ('r', 'm') and a.amname = 'heap', false) and current_setting('server_version_num')::int >= 140000 as paged,
      not c.relhassubclass and not row_security_active(dataset.oid)
        and (c.oid = dataset.oid or has_table_privilege(c.oid, 'select') and not row_security_active(c.oid)) as direct,
      c.relkind = 'f' as foreign,
      (pg_relation_size(c.oid) / current_setting('block_size')::int)::float8 as pages,
      pg_table_size(c.oid)::float8 as bytes
    from relation join dataset on true join pg_class c on c.oid = relation.oid
      join pg_namespace n on n.oid = c.relnamespace left join pg_am a on a.oid = c.relam`,
  values: [relationName(dataset)]
})
