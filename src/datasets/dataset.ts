import type { Columns } from "./column.ts"
import type { ColumnCondition, Order } from "./filters/conditions.ts"

export type RelationKind = "table" | "partitioned table" | "foreign table" | "view" | "materialized view"

/** What may be exported: a relation and its columns. Identifiers in SQL come from here alone. */
export interface Dataset {
  /** The table's name in the schema `public`, else `schema.table`; or what `DATASETS_FILE` calls it. */
  readonly name: string
  /** The names of the relation and its schema as PostgreSQL has them, unquoted. */
  readonly schema: string
  readonly table: string
  readonly kind: RelationKind
  readonly comment: string | null
  /** The columns that may be seen, in the order of the file. */
  readonly columns: Columns
  /** The columns of the primary key. Empty if there is no such key, or if some of it is hidden. */
  readonly key: ReadonlyArray<string>
  /** Estimates by the server's statistics; null if it has none. */
  readonly estimatedRows: number | null
  readonly estimatedBytes: number | null
  /** Conditions that a request may set, by the parameter's name. */
  readonly parameters: Readonly<Record<string, Parameter>>
  /** Conditions of every export of the dataset. Their columns may be hidden. */
  readonly conditions: ReadonlyArray<ColumnCondition>
  /** The order of an export that names none. */
  readonly order: ReadonlyArray<Order>
  /** The most rows that an export has. */
  readonly maxRows: number | undefined
}

/** Lists the names of the filterable columns. */
export const filterableOf = ({ columns }: Pick<Dataset, "columns">): ReadonlyArray<string> =>
  [...columns.values()].filter(({ filterable }) => filterable).map(({ name }) => name)

/** `column operator value`, for values that are one of `values` or match `pattern`. */
export interface Parameter {
  readonly column: string
  readonly operator: "eq" | "neq" | "gt" | "gte" | "lt" | "lte"
  readonly values?: ReadonlyArray<string> | undefined
  readonly pattern?: string | undefined
  /** Describes for an error what matches `pattern`: `a decimal number, such as 100`. */
  readonly allowed?: string | undefined
}
