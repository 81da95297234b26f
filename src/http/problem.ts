import { Data } from "effect"
import { STATUS_CODES } from "node:http"
import type { ExportStatus } from "../exports/export-job.ts"
import { limits } from "../limits.ts"
import type { QueueFull } from "../jobs/export-store.ts"
import type { TooManyStreams } from "../rate-limit/stream-turns.ts"
import type { DatabaseError } from "../postgres/app-database.ts"
import type { SourceBusy } from "../source/admission.ts"
import { sqlState, type SourceError } from "../source/source-error.ts"
import type { StorageError } from "../storage/export-storage.ts"

export interface FieldProblem {
  readonly field: string
  readonly detail: string
}

/** The request itself is wrong. `status` is 400 unless its kind has one of its own. */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{
  readonly detail: string
  readonly errors?: ReadonlyArray<FieldProblem>
  readonly status?: 400 | 408 | 413 | 414
}> {}
export class NotFound extends Data.TaggedError("NotFound")<{ readonly detail: string }> {}
export class MethodNotAllowed extends Data.TaggedError("MethodNotAllowed")<{ readonly method: string; readonly allow: string }> {}
/** The request names a host that is not allowed. */
export class MisdirectedRequest extends Data.TaggedError("MisdirectedRequest")<{ readonly host: string }> {}
/** A web page of another origin asks for a change. */
export class ForeignOrigin extends Data.TaggedError("ForeignOrigin")<{ readonly origin: string }> {}
/** The body is not JSON; `type` is its Content-Type, if it has one. */
export class UnsupportedMediaType extends Data.TaggedError("UnsupportedMediaType")<{ readonly type: string | undefined }> {}
/** The file of an export cannot be had in its present status. */
export class NotDownloadable extends Data.TaggedError("NotDownloadable")<{
  readonly id: string
  readonly status: ExportStatus
  readonly error: string | null
}> {}
/** What was there a moment ago is not any more. */
export class Gone extends Data.TaggedError("Gone")<{ readonly detail: string }> {}
export class RangeNotSatisfiable extends Data.TaggedError("RangeNotSatisfiable")<{ readonly bytes: number }> {}
export class PreconditionFailed extends Data.TaggedError("PreconditionFailed")<{ readonly detail: string }> {}
export class RateLimited extends Data.TaggedError("RateLimited")<{ readonly retryAfterSeconds: number }> {}
/** The source gave no row within the time that a stream may take. */
export class StreamTooLong extends Data.TaggedError("StreamTooLong")<{ readonly detail: string }> {}
/** Not now, but perhaps in a second. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly detail: string }> {}
export class NotReady extends Data.TaggedError("NotReady")<{
  readonly errors: ReadonlyArray<FieldProblem>
  readonly logged: string
}> {}

/** Every failure that a handler may end in. */
export type HttpFailure =
  | InvalidRequest
  | NotFound
  | MethodNotAllowed
  | MisdirectedRequest
  | ForeignOrigin
  | UnsupportedMediaType
  | NotDownloadable
  | Gone
  | RangeNotSatisfiable
  | PreconditionFailed
  | RateLimited
  | TooManyStreams
  | QueueFull
  | StreamTooLong
  | Unavailable
  | NotReady
  | SourceError
  | SourceBusy
  | StorageError
  | DatabaseError

interface Problem {
  readonly status: number
  readonly detail: string
  readonly errors?: ReadonlyArray<FieldProblem>
  /** For clients of the older API; else `detail`. */
  readonly error?: string
  readonly headers?: Record<string, string>
}

const MEDIA_TYPE = "application/json"
const INTERNAL = "An internal error happened; the log says more"

const retryLater = (status: number, detail: string, errors: ReadonlyArray<FieldProblem> = []): Problem => ({
  status,
  detail,
  errors,
  headers: { "Retry-After": "1" }
})

const downloadProblem = ({ id, status, error }: NotDownloadable): Problem => {
  switch (status) {
    case "failed":
      return { status: 409, detail: `Export ${id} failed: ${error ?? "for an unknown reason"}` }
    case "cancelled":
    case "expired":
      return { status: 410, detail: `Export ${id} is ${status}: its file is gone` }
    default:
      // RFC 8470 made 425 for replayed early data; here it says "not finished yet".
      return retryLater(425, `Export ${id} is ${status}: try again when it is completed`)
  }
}

const storageProblem = ({ reason }: StorageError): Problem => {
  switch (reason) {
    case "missing":
      return { status: 410, detail: "The export's file is gone: it was removed from the storage. Create the export again." }
    case "damaged":
      return { status: 500, detail: "The export's file is damaged and cannot be served. Create the export again." }
    default:
      return { status: 500, detail: "The export's file cannot be read; the log says more" }
  }
}

/** Says whether the request is at fault: it contains characters that Sluice's own database does not have. */
const isAsked = (failure: DatabaseError) => sqlState(failure) === "22P05"

const problemOf = (failure: HttpFailure): Problem => {
  switch (failure._tag) {
    case "InvalidRequest":
      return {
        status: failure.status ?? 400,
        detail: failure.detail,
        errors: failure.errors ?? [],
        // RFC 9110 §15.5.9: the rest of the body is not waited for.
        ...(failure.status === 408 && { headers: { Connection: "close" } })
      }
    case "NotFound":
      return { status: 404, detail: failure.detail }
    case "MethodNotAllowed":
      // RFC 9110 §15.5.6: Allow is required.
      return {
        status: 405,
        detail: `${failure.method} is not allowed here; allowed: ${failure.allow}`,
        headers: { Allow: failure.allow }
      }
    case "MisdirectedRequest":
      return {
        status: 421,
        detail: `The host ${JSON.stringify(failure.host)} is not served here`
      }
    case "ForeignOrigin":
      return {
        status: 403,
        detail: `A page of the origin ${JSON.stringify(failure.origin)} may not do this`
      }
    case "UnsupportedMediaType":
      return {
        status: 415,
        detail: `The body must have the Content-Type application/json, in UTF-8, ${failure.type === undefined ? "and has none" : `not ${JSON.stringify(failure.type)}`}`,
        // RFC 9110 §15.5.16 defines Accept here; clients of POST look for Accept-Post.
        headers: { Accept: MEDIA_TYPE, "Accept-Post": MEDIA_TYPE }
      }
    case "NotDownloadable":
      return downloadProblem(failure)
    case "Gone":
      return { status: 410, detail: failure.detail }
    case "RangeNotSatisfiable":
      // RFC 9110 §15.5.17: the actual length, so that the client can ask again.
      return {
        status: 416,
        detail: `The range lies outside the file of ${failure.bytes} bytes`,
        headers: { "Content-Range": `bytes */${failure.bytes}`, "Accept-Ranges": "bytes" }
      }
    case "PreconditionFailed":
      return { status: 412, detail: failure.detail }
    case "RateLimited":
      return {
        status: 429,
        detail: `Too many requests with this key; try again in ${failure.retryAfterSeconds} s`,
        error: "Too many requests - rate limit exceeded",
        headers: { "Retry-After": String(failure.retryAfterSeconds) }
      }
    case "TooManyStreams": {
      const { of, most } = failure
      const waited = limits.streamTurnMs / 1000
      return {
        status: 429,
        detail: `Too many streams with this ${of} at once: ${most} are under way, which is the most, and no turn came within ${waited} s`,
        headers: { "Retry-After": String(waited) }
      }
    }
    case "QueueFull":
      return retryLater(
        429,
        `There are ${failure.limit} unfinished exports already, which is the most; try again when one of them has ended`
      )
    case "StreamTooLong":
      return { status: 504, detail: failure.detail }
    case "Unavailable":
      return retryLater(503, failure.detail)
    case "NotReady":
      return retryLater(503, "Not ready", failure.errors)
    case "SourceBusy":
      return retryLater(503, failure.message)
    case "SourceError":
      if (failure.retryable) return retryLater(503, failure.message)
      // RFC 9110 §15.5.21: the request is valid, but the data or the privileges on it do not allow it.
      return { status: failure.asked ? 400 : 422, detail: failure.message }
    case "DatabaseError":
      if (isAsked(failure)) return { status: 400, detail: failure.message }
      return failure.unavailable ? retryLater(503, failure.message) : { status: 500, detail: INTERNAL }
    case "StorageError":
      return storageProblem(failure)
  }
}

/** The problem document (RFC 9457) of a failure; `instance` is the path of the request. */
export const problemResponse = (failure: HttpFailure, instance: string): Response => toResponse(problemOf(failure), instance)

/** The document of what nobody foresaw; the log has the rest. */
export const defectResponse = (instance: string): Response => toResponse({ status: 500, detail: INTERNAL }, instance)

const toResponse = ({ status, detail, errors = [], error = detail, headers = {} }: Problem, instance: string): Response =>
  Response.json(
    { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, detail, instance, errors, error },
    { status, headers: { "Content-Type": "application/problem+json", "Cache-Control": "no-store", ...headers } }
  )
