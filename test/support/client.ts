/** Calls to the service that several test files make. */
import { expect } from "bun:test"
import type * as schemas from "../../src/http/endpoints/documents.ts"
import type { Service } from "./service.ts"
import { connect } from "./shared-service.ts"
import { until } from "./until.ts"

/** The JSON of an export, as a client reads it. */
export type ExportDocument = typeof schemas.ExportDocument.Encoded
export type ProblemDocument = typeof schemas.ProblemDocument.Encoded

/** Makes the options of a POST with JSON. */
export const jsonPost = (body: object | string) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: typeof body === "string" ? body : JSON.stringify(body)
})

/** Creates an export and returns its id. `query` begins with "?". */
export const createExport = async ({ url }: Service, query = ""): Promise<string> => {
  const response = await fetch(`${url}/exports/csv${query}`, { method: "POST" })
  expect(response.status).toBe(202)
  const { exportId } = (await response.json()) as { exportId: string }
  return exportId
}

export const statusOf = async ({ url }: Service, id: string): Promise<ExportDocument> =>
  (await (await fetch(`${url}/exports/${id}/status`)).json()) as ExportDocument

/** Says whether all that is read of an answer arrives. */
export const isComplete = (body: Promise<unknown>): Promise<boolean> =>
  body.then(
    () => true,
    () => false
  )

/** Waits until the export is in `status`. */
export const reaches = (
  service: Service,
  id: string,
  status: ExportDocument["status"],
  limitMs?: number
): Promise<ExportDocument> =>
  until(
    `export ${id} to be ${status}`,
    async () => {
      const document = await statusOf(service, id)
      return document.status === status && document
    },
    limitMs
  )

export const download = async ({ url }: Service, id: string): Promise<Buffer> =>
  Buffer.from(await (await fetch(`${url}/exports/${id}/download`)).arrayBuffer())

/** Returns what COPY writes for a query in a session with the settings of the contract. Exports are compared with it. */
export const copyCsv = async ({ database }: Service, query: string, options = ""): Promise<Buffer> => {
  const sql = await connect(database, 1)
  await sql.unsafe("set timezone = 'UTC'; set datestyle = 'ISO'")
  const chunks: Array<Uint8Array> = []
  const copy = sql.unsafe(`copy (${query}) to stdout (format csv, header true${options})`)
  for await (const chunk of await copy.readable()) chunks.push(chunk)
  await sql.end({ timeout: 1 })
  return Buffer.concat(chunks)
}
