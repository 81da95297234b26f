/** What may be exported: a relation and its columns. Identifiers in SQL come from here alone. */
export interface Dataset {
  readonly name: string
  readonly schema: string
  readonly table: string
  /** In the order of the file. */
  readonly columns: ReadonlyArray<string>
  readonly filters: Readonly<Record<string, DatasetFilter>>
}

/** A condition that a request may set: `column operator value`, the value bound as text and cast to `type`. */
interface DatasetFilter {
  readonly column: string
  readonly operator: "=" | ">="
  readonly type: "bpchar" | "text" | "numeric"
}
