import type { ChunkWriter } from "../formats/chunk-writer.ts"
import type { Dialect } from "../formats/csv/dialect.ts"
import { CsvEncoder } from "../formats/csv/encoder.ts"

/** How a CSV file is written, apart from its rows. */
export interface CsvLayout {
  readonly dialect: Dialect
  /** The cells of the header line, if there is one, as text in UTF-8 or as bytes. */
  readonly header: ReadonlyArray<string | Buffer> | undefined
  /** Says of each column whether its values are text. */
  readonly isTextColumn: ReadonlyArray<boolean>
  /** The file begins with a byte order mark. */
  readonly bom: boolean
}

const BYTE_ORDER_MARK = Buffer.from("\ufeff")

/** Writes what comes before the rows, and returns the encoder for them. */
export const beginFile = ({ dialect, header, isTextColumn, bom }: CsvLayout, chunks: ChunkWriter): CsvEncoder => {
  const encoder = new CsvEncoder(dialect, chunks, isTextColumn)
  if (bom) chunks.append(BYTE_ORDER_MARK, 0, BYTE_ORDER_MARK.length)
  if (header) encoder.header(header)
  return encoder
}

/** The bytes of one export, in order, from one snapshot. */
export interface ExportBytes {
  /**
   * Returns the next chunk; undefined after the last, which comes only when the database has answered `commit`.
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
