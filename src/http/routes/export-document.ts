import { Effect } from "effect"
import type { ExportJob } from "../../exports/export-job.ts"
import type { ExportStorage } from "../../storage/export-storage.ts"
import type { ExportDocument } from "../endpoints/documents.ts"
import type { Prefix } from "../request-env.ts"

/** Says whether the file is there as it was written. If the storage does not answer, it counts as there. */
const hasFile = (job: ExportJob, storage: ExportStorage["Type"]) =>
  job.status === "completed"
    ? storage.read(job, job.bytes ?? 0).pipe(
        Effect.as(true),
        Effect.catchAll(({ reason }) => Effect.succeed(reason === undefined))
      )
    : Effect.succeed(false)

const toDocument = (job: ExportJob, prefix: Prefix, download: boolean): ExportDocument => {
  const { id, dataset, status, totalRows, totalRowsExact, processedRows, percentage, error, waitingSince } = job
  const { createdAt, startedAt, completedAt, expiresAt, bytes, crc32, truncatedBy } = job
  const path = `${prefix}/exports/${id}`
  return {
    exportId: id,
    dataset,
    status,
    progress: { totalRows, totalRowsExact, processedRows, percentage },
    error,
    waiting: waitingSince && `the source database cannot be reached since ${waitingSince.toISOString()}`,
    createdAt,
    startedAt,
    completedAt,
    expiresAt,
    bytes,
    crc32,
    truncated: truncatedBy !== null,
    truncatedBy,
    links: { self: `${path}/status`, events: `${path}/events`, ...(download && { download: `${path}/download` }) }
  }
}

/** Returns an export as its document. Links have the prefix of the request; one leads to the file while there is one. */
export const exportDocument = (job: ExportJob, prefix: Prefix, storage: ExportStorage["Type"]): Effect.Effect<ExportDocument> =>
  Effect.map(hasFile(job, storage), (download) => toDocument(job, prefix, download))
