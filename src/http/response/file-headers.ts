import type { ExportFile, ExportJob } from "../../exports/export-job.ts"
import { contentTypeOf, extensionOf } from "../../formats/format.ts"
import type { ContentCoding } from "./compression.ts"

/** Makes the name of a file. The name of a dataset may contain any character, and that of a file should not. */
const fileName = (file: ExportFile) => {
  const { id, dataset, format, completedAt } = file
  const date = (completedAt ?? new Date()).toISOString().slice(0, 10).replaceAll("-", "")
  return `${dataset.replaceAll(/[^\w.-]/g, "_")}-${date}-${id.slice(0, 8)}.${format ? extensionOf(format) : "bin"}`
}

/** Makes a strong entity tag: the bytes of an export never change, and each coding has a tag of its own. */
const entityTag = ({ id, crc32 }: ExportJob, coding: ContentCoding) =>
  `"${id}-${crc32}${coding === "identity" ? "" : `-${coding}`}"`

/** Returns the validators by which a client knows whether it has the file (RFC 9110 §8.8). */
export const validatorsOf = (file: ExportFile, coding: ContentCoding) => ({
  etag: entityTag(file, coding),
  lastModified: file.completedAt ?? file.createdAt
})

/** Returns the headers of every answer about a file, 304 included (RFC 9110 §15.4.5). */
export const fileHeaders = ({ etag, lastModified }: ReturnType<typeof validatorsOf>): Record<string, string> => ({
  ETag: etag,
  "Last-Modified": lastModified.toUTCString(),
  "Cache-Control": "private, no-transform",
  Vary: "Accept-Encoding",
  "X-Content-Type-Options": "nosniff",
  "Accept-Ranges": "bytes"
})

/** Returns the headers of an answer with bytes of the file. */
export const contentHeaders = (file: ExportFile, coding: ContentCoding): Record<string, string> => ({
  "Content-Type": file.format ? contentTypeOf(file.format) : "application/octet-stream",
  "Content-Disposition": `attachment; filename="${fileName(file)}"`,
  ...(coding !== "identity" && { "Content-Encoding": coding }),
  ...(file.truncatedBy && { "Sluice-Truncated": file.truncatedBy })
})
