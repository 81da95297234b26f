import { limits } from "../config.ts"
import { CsvEncoder } from "../csv/encoder.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { RowPlan } from "./plan.ts"
import type { ByteRows } from "./row-source.ts"
import type { SourceConnection } from "./source-connection.ts"

/** What of an export decides its bytes, beside its rows. */
type CsvShape = Pick<ExportSpec, "columns" | "delimiter" | "quote">

/** Rows of the first fetch: few, so that a first byte is soon there and wide rows are noticed before many arrive. */
const FIRST_FETCH = 16

const immediate = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Reads a plan through a cursor: the next batch is fetched while the last one is encoded. */
export class CursorSource implements ByteRows {
  rows = 0
  readonly estimatedRows: number
  readonly #connection: SourceConnection
  readonly #fetch: ReturnType<SourceConnection["cursor"]>
  readonly #encoder: CsvEncoder
  readonly #batchSize: number
  #pending: ReturnType<typeof this.fetchNext>
  #ready: Array<Uint8Array>
  #committed = false

  constructor(connection: SourceConnection, spec: CsvShape, plan: RowPlan, batchSize: number, chunkSize: number) {
    this.#connection = connection
    this.#batchSize = batchSize
    this.estimatedRows = plan.estimatedRows
    this.#fetch = connection.cursor(plan.statement)
    this.#encoder = new CsvEncoder({ delimiter: spec.delimiter, quote: spec.quote }, spec.columns.length, chunkSize)
    this.#ready = this.#encoder.header(spec.columns)
    this.#pending = this.fetchNext(Math.min(FIRST_FETCH, batchSize))
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#ready.shift()
      if (chunk !== undefined) return chunk
      if (this.#committed) return undefined
      const batch = await this.#pending
      if (batch === undefined) {
        this.#ready = this.#encoder.flush()
        await this.#connection.commit()
        this.#committed = true
        continue
      }
      const first = this.rows === 0
      this.rows += batch.length
      this.#pending = this.fetchNext(this.#nextFetch(batch))
      // postgres.js sends at the end of the event loop's turn: let it, so that the server works while we encode.
      await immediate()
      this.#ready = this.#encoder.encode(batch)
      // The first rows go out at once; a sparse filter may need long for the next.
      if (first) this.#ready.push(...this.#encoder.flush())
    }
  }

  recycle(chunk: Uint8Array): void {
    this.#encoder.recycle(chunk)
  }

  private fetchNext(rows: number) {
    const pending = this.#fetch(rows)
    // It is awaited later, or never when the reader stops; a failure in between is no unhandled one.
    pending.catch(() => {})
    return pending
  }

  /** As many rows as fill `fetchBytes` if they are as wide as the last ones. */
  #nextFetch(batch: ReadonlyArray<ReadonlyArray<Uint8Array | null>>): number {
    let bytes = 0
    for (const row of batch) for (const cell of row) bytes += cell === null ? 0 : cell.length
    return Math.max(1, Math.min(this.#batchSize, Math.floor((limits.fetchBytes * batch.length) / Math.max(1, bytes))))
  }
}
