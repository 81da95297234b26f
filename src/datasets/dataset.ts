import type { Columns } from "./column.ts"
import type { ColumnCondition, Order } from "./filters/conditions.ts"

export type RelationKind = "table" | "partitioned table" | "foreign table" | "view" | "materialized view"

/** What may be exported: a relation and its columns. Identifiers in SQL come from here alone. */
export interface Dataset {
  /** The table's name in the schema `public`, else `schema.table`; or what `DATASETS_FILE` calls it. */
  readonly name: string
  /** As PostgreSQL has them, unquoted. */
  readonly schema: string
  readonly table: string
  readonly kind: RelationKind
  readonly comment: string | null
  /** The columns that may be seen, in the order of the file. */
  readonly columns: Columns
  /** Columns of its primary key; none: it has no such key, or not all of it may be seen. */
  readonly key: ReadonlyArray<string>
  /** By the server's statistics; null: it has none. */
  readonly estimatedRows: number | null
  readonly estimatedBytes: number | null
  /** Conditions that a request may set, by the parameter's name. */
  readonly parameters: Readonly<Record<string, Parameter>>
  /** Conditions of every export of it, with their columns, which may be hidden ones. */
  readonly conditions: ReadonlyArray<ColumnCondition>
  /** Of an export that names none. */
  readonly order: ReadonlyArray<Order>
  /** The most rows that an export of it has. */
  readonly maxRows: number | undefined
}

/** The names of the columns that may be filtered by. */
export const filterableOf = ({ columns }: Pick<Dataset, "columns">): ReadonlyArray<string> =>
  [...columns.values()].filter(({ filterable }) => filterable).map(({ name }) => name)

/** `column operator value`, for values that are one of `values` or match `pattern`. */
export interface Parameter {
  readonly column: string
  readonly operator: "eq" | "neq" | "gt" | "gte" | "lt" | "lte"
  readonly values?: ReadonlyArray<string> | undefined
  readonly pattern?: string | undefined
  /** What an error says of what matches `pattern`: `a decimal number, such as 100`. */
  readonly allowed?: string | undefined
}
