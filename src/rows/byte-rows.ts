import type { ExportSpec } from "../exports/export-spec.ts"

/** What of an export decides its bytes, beside its rows. */
export type CsvShape = Pick<ExportSpec, "columns" | "delimiter" | "quote">

/** The bytes of one export, in order, from one snapshot. */
export interface ByteRows {
  /**
   * The next chunk; undefined after the last, which comes only when the database has answered `commit`.
   * Rejects with SourceError. One call at a time. The receiver owns the chunk.
   */
  next(): Promise<Uint8Array | undefined>
  /** Gives a chunk's buffer back for reuse, when nobody reads it any more. */
  recycle(chunk: Uint8Array): void
  /** Rows read so far. */
  readonly rows: number
  /** Rows that the planner expects. */
  readonly estimatedRows: number
}
