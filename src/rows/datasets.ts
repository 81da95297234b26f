import { Effect, Queue, Redacted } from "effect"
import { AppConfig, Databases, limits } from "../config.ts"
import type { AllowedRelation } from "../datasets/allow-list.ts"
import type { Column, Dataset, RelationKind } from "../datasets/dataset.ts"
import { userParameters, users } from "../datasets/users.ts"
import { connectSource } from "./source-connection.ts"
import { SourceError, toSourceError } from "./source-error.ts"
import type { Statement } from "./statement.ts"

/** What the catalog tells of a relation. */
interface RelationRow {
  readonly schema: string
  readonly table: string
  readonly kind: "r" | "p" | "f" | "v" | "m"
  readonly comment: string | null
  readonly rows: number | null
  readonly bytes: number | null
  readonly columns: ReadonlyArray<Column> | null
  readonly key: ReadonlyArray<string> | null
}

/**
 * The relations of the allow-list that the role may read, with the columns that it may read. Statistics of a
 * partitioned table are those of its partitions. No sizes by function: those wait for locks.
 */
const datasetsStatement = (allowed: ReadonlyArray<AllowedRelation>): Statement => ({
  text: `
    with recursive allowed as (
      select * from json_to_recordset($1::text::json) as a(schema text, "table" text)
    ), named as (
      select c.oid, n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'f', 'v', 'm') and has_schema_privilege(n.oid, 'usage')
        and exists (select from allowed a where a.schema = n.nspname
          and (a."table" = c.relname or a."table" is null and not c.relispartition))
    ), tree as (
      select oid as root, oid from named
      union all select root, inhrelid from tree join pg_inherits on inhparent = tree.oid
    ), statistics as (
      select root, sum(c.reltuples)::float8 as rows, (sum(c.relpages) * current_setting('block_size')::int)::float8 as bytes
      from tree join pg_class c on c.oid = tree.oid where c.relkind in ('r', 'm') and c.reltuples >= 0 group by root
    )
    select n.nspname as schema, n.relname as table, n.relkind as kind, obj_description(n.oid, 'pg_class') as comment,
      s.rows, s.bytes,
      (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
          'nullable', not attnotnull, 'comment', col_description(n.oid, attnum)) order by attnum)
        from pg_attribute where attrelid = n.oid and attnum > 0 and not attisdropped
          and has_column_privilege(n.oid, attnum, 'select')) as columns,
      (select json_agg(a.attname order by array_position(i.indkey::int2[], a.attnum))
        from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = n.oid and i.indisprimary) as key
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

const toDataset = ({ schema, table, kind, comment, rows, bytes, columns, key }: RelationRow): Dataset => ({
  name: schema === "public" ? table : `${schema}.${table}`,
  schema,
  table,
  kind: kinds[kind],
  comment,
  columns: columns ?? [],
  key: key ?? [],
  estimatedRows: rows,
  estimatedBytes: bytes,
  parameters: schema === users.schema && table === users.table ? userParameters : {}
})

/** By name. A relation without columns that may be read is none; of two of one name, `public` has it. */
const byName = (relations: ReadonlyArray<RelationRow>): ReadonlyMap<string, Dataset> => {
  const datasets = relations.map(toDataset).filter(({ columns }) => columns.length > 0)
  const named = datasets.toSorted((a, b) => Number(a.schema === "public") - Number(b.schema === "public"))
  return new Map(named.map((dataset) => [dataset.name, dataset]))
}

/**
 * What may be exported, as the source database has it: read at start, every `datasetsRefreshMs`, and on SIGHUP. When it
 * cannot be read, what was known stays.
 */
export class Datasets extends Effect.Service<Datasets>()("Datasets", {
  scoped: Effect.gen(function* () {
    const { exportDatasets } = yield* AppConfig
    const url = Redacted.value((yield* Databases).source)
    let known: ReadonlyMap<string, Dataset> | undefined
    let told: string | undefined

    const read = Effect.gen(function* () {
      const connection = yield* connectSource(url)
      const relations = yield* Effect.tryPromise({
        try: () => connection.query<RelationRow>(datasetsStatement(exportDatasets)),
        catch: toSourceError
      })
      known = byName(relations)
    }).pipe(Effect.scoped)

    /** Once for each change of what may be exported. */
    const tell = Effect.suspend(() => {
      const names = [...(known?.keys() ?? [])].join(", ")
      if (names === told) return Effect.void
      told = names
      return names === ""
        ? Effect.logWarning("nothing may be exported: EXPORT_DATASETS names what may, such as public.orders,reporting.*")
        : Effect.logInfo(`may be exported: ${names}`)
    })

    const refresh = read.pipe(
      Effect.matchEffect({
        onSuccess: () => tell,
        onFailure: ({ message }) => Effect.logWarning(`what may be exported was not read: ${message}`)
      })
    )

    const hangups = yield* Queue.sliding<void>(1)
    const hangup = () => void hangups.unsafeOffer(undefined)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("SIGHUP", hangup)),
      () => Effect.sync(() => process.off("SIGHUP", hangup))
    )
    yield* refresh
    yield* Effect.suspend(() =>
      Effect.timeoutOption(Queue.take(hangups), known ? limits.datasetsRefreshMs : limits.datasetsRetryMs)
    ).pipe(Effect.zipRight(refresh), Effect.forever, Effect.forkScoped)

    /** What may be exported, by name. Fails until the source database has answered once. */
    const all: Effect.Effect<ReadonlyMap<string, Dataset>, SourceError> = Effect.suspend(() => {
      if (known) return Effect.succeed(known)
      const message = "Cannot tell what may be exported: the source database did not answer yet"
      return Effect.fail(new SourceError({ message, retryable: true }))
    })

    /** The dataset of an export that was asked for earlier. */
    const find = (name: string): Effect.Effect<Dataset, SourceError> =>
      Effect.flatMap(all, (datasets) => {
        const dataset = datasets.get(name)
        if (dataset) return Effect.succeed(dataset)
        const message = `Cannot export ${name}: there is no such dataset any more`
        return Effect.fail(new SourceError({ message, retryable: false }))
      })

    return { all, find } as const
  })
}) {}
