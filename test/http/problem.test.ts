/** Clients branch on the `type` of a problem document, so each failure keeps its own. */
import { describe, expect, test } from "bun:test"
import * as failures from "../../src/http/failures.ts"
import { defectResponse, problemResponse, problemTypes, problemUrn } from "../../src/http/problem.ts"
import { ExportNotFound } from "../../src/jobs/store/queries.ts"
import { DatabaseError } from "../../src/postgres/app-database.ts"
import { QueueFull } from "../../src/jobs/store/commands.ts"
import { TooManyStreams } from "../../src/rate-limit/stream-turns.ts"
import { SourceBusy } from "../../src/source/admission.ts"
import { SourceError } from "../../src/source/source-error.ts"
import { StorageError } from "../../src/storage/export-storage.ts"

const detail = "x"
const id = crypto.randomUUID()
const database = { message: detail, logged: detail, cause: undefined }

const cases: ReadonlyArray<readonly [failures.HttpFailure, number, string]> = [
  [new failures.InvalidRequest({ detail }), 400, "invalid-request"],
  [new failures.InvalidRequest({ detail, status: 408 }), 408, "request-timeout"],
  [new failures.InvalidRequest({ detail, status: 413 }), 413, "body-too-large"],
  [new failures.InvalidRequest({ detail, status: 414 }), 414, "url-too-long"],
  [new failures.NotFound({ detail, what: "path" }), 404, "not-found"],
  [new failures.NotFound({ detail, what: "dataset" }), 404, "dataset-not-found"],
  [new ExportNotFound({ id }), 404, "export-not-found"],
  [new failures.MethodNotAllowed({ method: "PUT", allow: "GET" }), 405, "method-not-allowed"],
  [new failures.ForeignOrigin({ origin: "https://example.com" }), 403, "foreign-origin"],
  [new failures.MisdirectedRequest({ host: "example.com" }), 421, "misdirected-request"],
  [new failures.UnsupportedMediaType({ type: undefined }), 415, "unsupported-media-type"],
  [new failures.NotDownloadable({ id, status: "pending", error: null }), 425, "export-not-finished"],
  [new failures.NotDownloadable({ id, status: "processing", error: null }), 425, "export-not-finished"],
  [new failures.NotDownloadable({ id, status: "failed", error: detail }), 409, "export-failed"],
  [new failures.NotDownloadable({ id, status: "cancelled", error: null }), 410, "export-gone"],
  [new failures.NotDownloadable({ id, status: "expired", error: null }), 410, "export-gone"],
  [new StorageError({ message: detail, reason: "missing" }), 410, "file-missing"],
  [new StorageError({ message: detail, reason: "damaged" }), 500, "file-damaged"],
  [new StorageError({ message: detail }), 500, "file-unreadable"],
  [new failures.RangeNotSatisfiable({ bytes: 1 }), 416, "range-not-satisfiable"],
  [new failures.PreconditionFailed({ detail }), 412, "precondition-failed"],
  [new failures.RateLimited({ retryAfterSeconds: 1 }), 429, "rate-limited"],
  [new TooManyStreams({ of: "key", most: 1 }), 429, "too-many-streams"],
  [new QueueFull({ limit: 1 }), 429, "queue-full"],
  [new failures.StreamTooLong({ detail }), 504, "stream-timeout"],
  [new failures.Unavailable({ detail }), 503, "service-busy"],
  [new failures.NotReady({ errors: [], logged: detail }), 503, "not-ready"],
  [new SourceBusy({ message: detail }), 503, "source-busy"],
  [new SourceError({ message: detail, retryable: true }), 503, "source-unavailable"],
  [new SourceError({ message: detail, retryable: false }), 422, "query-refused"],
  [new SourceError({ message: detail, retryable: false, asked: true }), 400, "invalid-request"],
  [new DatabaseError({ ...database, unavailable: true }), 503, "database-unavailable"],
  [new DatabaseError({ ...database, unavailable: false }), 500, "internal-error"],
  [new DatabaseError({ ...database, cause: { code: "22P05" }, unavailable: false }), 400, "invalid-request"]
]

describe("the problem document", () => {
  test.each(cases.map(([failure, status, type]) => [failure._tag, status, type, failure] as const))(
    "of %s has the status %d and the type %s",
    async (_, status, type, failure) => {
      const response = problemResponse(failure, "/here")
      expect(response.status).toBe(status)
      expect(await response.json()).toMatchObject({ type: `urn:sluice:problem:${type}`, status, instance: "/here" })
    }
  )

  test("of a defect has the status 500 and the type internal-error", async () => {
    const response = defectResponse("/here")
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({ type: "urn:sluice:problem:internal-error", status: 500 })
  })
})

test("each problem type is listed once, and is that of some failure", () => {
  const listed = problemTypes.map(problemUrn)
  expect(new Set(listed).size).toBe(listed.length)
  const raised = new Set([...cases.map(([, , type]) => `urn:sluice:problem:${type}`), "urn:sluice:problem:internal-error"])
  expect([...raised].toSorted()).toEqual(listed.toSorted())
})
