import type { ExportFile, ExportJob } from "../../exports/export-job.ts"
import { contentTypeOf, defaultFormat } from "../../formats/format.ts"
import type { ContentCoding } from "./compression.ts"

const formatOf = ({ format }: ExportFile) => format ?? defaultFormat

/** A dataset's name may hold anything; a file's should not. */
const fileName = (file: ExportFile) => {
  const { id, dataset, completedAt } = file
  const date = (completedAt ?? new Date()).toISOString().slice(0, 10).replaceAll("-", "")
  return `${dataset.replaceAll(/[^\w.-]/g, "_")}-${date}-${id.slice(0, 8)}.${formatOf(file).type}`
}

/** Strong: the bytes of one export never change, and each coding has its own. */
const entityTag = ({ id, crc32 }: ExportJob, coding: ContentCoding) =>
  `"${id}-${crc32}${coding === "identity" ? "" : `-${coding}`}"`

/** Returns what tells whether a client has the file (RFC 9110 §8.8). */
export const validatorsOf = (file: ExportFile, coding: ContentCoding) => ({
  etag: entityTag(file, coding),
  lastModified: file.completedAt ?? file.createdAt
})

/** Returns the headers of each answer about a file, also of one that says that it has not changed (RFC 9110 §15.4.5). */
export const fileHeaders = ({ etag, lastModified }: ReturnType<typeof validatorsOf>): Record<string, string> => ({
  ETag: etag,
  "Last-Modified": lastModified.toUTCString(),
  "Cache-Control": "private, no-transform",
  Vary: "Accept-Encoding",
  "X-Content-Type-Options": "nosniff",
  "Accept-Ranges": "bytes"
})

/** Returns the headers of the file's bytes. */
export const contentHeaders = (file: ExportFile, coding: ContentCoding): Record<string, string> => ({
  "Content-Type": contentTypeOf(formatOf(file)),
  "Content-Disposition": `attachment; filename="${fileName(file)}"`,
  ...(coding !== "identity" && { "Content-Encoding": coding }),
  ...(file.truncatedBy && { "Sluice-Truncated": file.truncatedBy })
})
