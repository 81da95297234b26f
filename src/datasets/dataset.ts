export interface Column {
  readonly name: string
  /** As PostgreSQL writes it: `numeric(12,2)`. */
  readonly type: string
  readonly nullable: boolean
  readonly comment: string | null
}

export type RelationKind = "table" | "partitioned table" | "foreign table" | "view" | "materialized view"

/** What may be exported: a relation and its columns. Identifiers in SQL come from here alone. */
export interface Dataset {
  /** The table's name in the schema `public`, else `schema.table`. */
  readonly name: string
  /** As PostgreSQL has them, unquoted. */
  readonly schema: string
  readonly table: string
  readonly kind: RelationKind
  readonly comment: string | null
  /** In the order of the file. */
  readonly columns: ReadonlyArray<Column>
  /** Columns of its primary key; none: it has no such key. */
  readonly key: ReadonlyArray<string>
  /** By the server's statistics; null: it has none. */
  readonly estimatedRows: number | null
  readonly estimatedBytes: number | null
  /** Conditions that a request may set, by the parameter's name. */
  readonly parameters: Readonly<Record<string, DatasetParameter>>
}

/** `column operator value`, the value bound as text and cast to `type`. */
export interface DatasetParameter {
  readonly column: string
  readonly operator: "=" | ">="
  readonly type: "bpchar" | "text" | "numeric"
}
