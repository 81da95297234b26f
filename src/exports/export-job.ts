import type { Format } from "../formats/format.ts"

/**
 * The lifecycle of an export job. The table is the one source of what may follow what: the store's
 * SQL takes its `where status in (…)` from here, so a write that the table forbids changes no row.
 */
export type ExportStatus = "pending" | "processing" | "completed" | "failed" | "cancelled" | "expired"

export const transitions = {
  /** A worker takes the job; also again, when the worker before it died. */
  claim: { from: ["pending", "processing"], to: "processing" },
  /** The worker returns it to the queue: a failure that is tried again, or a shutdown. */
  release: { from: ["processing"], to: "pending" },
  complete: { from: ["processing"], to: "completed" },
  fail: { from: ["pending", "processing"], to: "failed" },
  cancel: { from: ["pending", "processing"], to: "cancelled" },
  /** The file is found to differ from what was written: it was changed in the storage. */
  damage: { from: ["completed"], to: "failed" },
  /** The file is removed: by age, or by DELETE. */
  expire: { from: ["completed"], to: "expired" }
} as const satisfies Record<string, { from: ReadonlyArray<ExportStatus>; to: ExportStatus }>

export type Transition = keyof typeof transitions

export const isFinished = (status: ExportStatus): boolean => status !== "pending" && status !== "processing"

/** A limit of the operator that may leave rows out of a file. A `total` that the requester gave is none. */
export type TruncatedBy = "maxRows"

/** The state of an export as its status shows it. Times are UTC. */
export interface ExportJob {
  readonly id: string
  /** The export's place in the order of creation. */
  readonly sequence: number
  readonly dataset: string
  readonly status: ExportStatus
  readonly epoch: number
  readonly totalRows: number | null
  readonly totalRowsExact: boolean
  readonly processedRows: number
  readonly percentage: number
  readonly error: string | null
  /** When the source that the export waits for became unreachable. */
  readonly waitingSince: Date | null
  readonly bytes: number | null
  readonly crc32: string | null
  /** Base64, once somebody asked for it. */
  readonly sha256: string | null
  /** The limit that left rows out of the file. Null also for files of the version before, which did not find out. */
  readonly truncatedBy: TruncatedBy | null
  readonly createdAt: Date
  readonly startedAt: Date | null
  readonly completedAt: Date | null
  readonly expiresAt: Date | null
}

/** An export with what the headers of its file also need. */
export interface ExportFile extends ExportJob {
  /** Undefined: a newer instance has made the file, in a format that this one does not know. */
  readonly format: Format | undefined
}
