import { Schema } from "effect"
import { STATUS_CODES } from "node:http"
import { ExportNotFound } from "../jobs/store/queries.ts"
import { DatabaseError } from "../postgres/app-database.ts"
import { QueueFull } from "../jobs/store/commands.ts"
import { limits } from "../limits.ts"
import { TooManyStreams } from "../rate-limit/stream-turns.ts"
import { SourceBusy } from "../source/admission.ts"
import { SourceError, sqlState } from "../source/source-error.ts"
import { StorageError } from "../storage/export-storage.ts"
import { ProblemDocument, type FieldProblem } from "./endpoints/documents.ts"
import {
  ForeignOrigin,
  InvalidRequest,
  MethodNotAllowed,
  MisdirectedRequest,
  NotDownloadable,
  NotFound,
  NotReady,
  PreconditionFailed,
  RangeNotSatisfiable,
  RateLimited,
  StreamTooLong,
  Unavailable,
  UnsupportedMediaType,
  type HttpFailure,
  type ProblemType
} from "./failures.ts"

/** What nobody foresaw; the log has the rest. */
export const internalError = {
  type: "internal-error",
  status: 500,
  meaning: "The service failed; its log says more."
} as const satisfies ProblemType
const INTERNAL = "An internal error happened; the log says more"

/** All that `type` may be, without its prefix. */
export const problemTypes: ReadonlyArray<ProblemType> = [
  ...Object.values(InvalidRequest.problems),
  ...Object.values(NotFound.problems),
  ExportNotFound.problem,
  MethodNotAllowed.problem,
  ForeignOrigin.problem,
  MisdirectedRequest.problem,
  UnsupportedMediaType.problem,
  ...Object.values(NotDownloadable.problems),
  StorageError.problems.missing,
  PreconditionFailed.problem,
  RangeNotSatisfiable.problem,
  SourceError.problems.refused,
  RateLimited.problem,
  TooManyStreams.problem,
  QueueFull.problem,
  SourceError.problems.unavailable,
  SourceBusy.problem,
  DatabaseError.problem,
  Unavailable.problem,
  NotReady.problem,
  StreamTooLong.problem,
  StorageError.problems.damaged,
  StorageError.problems.unreadable,
  internalError
]

/** Returns the `type` of problem documents; a stable name, by which clients tell problems apart. */
export const problemUrn = ({ type }: ProblemType): string => `urn:sluice:problem:${type}`

interface Problem {
  readonly type: ProblemType
  readonly detail: string
  readonly errors?: ReadonlyArray<FieldProblem>
  /** For clients of the older API; else `detail`. */
  readonly error?: string
  readonly headers?: Record<string, string>
}

const MEDIA_TYPE = "application/json"

const retryLater = (type: ProblemType, detail: string, errors: ReadonlyArray<FieldProblem> = []): Problem => ({
  type,
  detail,
  errors,
  headers: { "Retry-After": "1" }
})

const downloadProblem = ({ id, status, error }: NotDownloadable): Problem => {
  const { failed, gone, unfinished } = NotDownloadable.problems
  switch (status) {
    case "failed":
      return { type: failed, detail: `Export ${id} failed: ${error ?? "for an unknown reason"}` }
    case "cancelled":
    case "expired":
      return { type: gone, detail: `Export ${id} is ${status}: its file is gone` }
    case "pending":
    case "processing":
      // RFC 8470 made 425 for replayed early data; here it says "not finished yet".
      return retryLater(unfinished, `Export ${id} is ${status}: try again when it is completed`)
  }
}

const storageProblem = ({ reason }: StorageError): Problem => {
  const type = StorageError.problems[reason ?? "unreadable"]
  switch (reason) {
    case "missing":
      return { type, detail: "The export's file is gone: it was removed from the storage. Create the export again." }
    case "damaged":
      return { type, detail: "The export's file is damaged and cannot be served. Create the export again." }
    default:
      return { type, detail: "The export's file cannot be read; the log says more" }
  }
}

const sourceProblem = ({ message, retryable, asked }: SourceError): Problem => {
  if (retryable) return retryLater(SourceError.problems.unavailable, message)
  // RFC 9110 §15.5.21: the request is valid, but the data or the privileges on it do not allow it.
  return { type: asked ? InvalidRequest.problems[400] : SourceError.problems.refused, detail: message }
}

const databaseProblem = (failure: DatabaseError): Problem => {
  // The request contains characters that Sluice's own database does not have.
  if (sqlState(failure) === "22P05") return { type: InvalidRequest.problems[400], detail: failure.message }
  return failure.unavailable ? retryLater(DatabaseError.problem, failure.message) : { type: internalError, detail: INTERNAL }
}

const tooManyStreams = ({ of, most }: TooManyStreams): Problem => {
  const waited = limits.streamTurnMs / 1000
  return {
    type: TooManyStreams.problem,
    detail: `Too many streams with this ${of} at once: ${most} are under way, which is the most, and no turn came within ${waited} s`,
    headers: { "Retry-After": String(waited) }
  }
}

const problemOf = (failure: HttpFailure): Problem => {
  switch (failure._tag) {
    case "InvalidRequest":
      return {
        type: InvalidRequest.problems[failure.status ?? 400],
        detail: failure.detail,
        errors: failure.errors ?? [],
        // RFC 9110 §15.5.9: the rest of the body is not waited for.
        ...(failure.status === 408 && { headers: { Connection: "close" } })
      }
    case "NotFound":
      return { type: NotFound.problems[failure.what], detail: failure.detail }
    case "ExportNotFound":
      return { type: ExportNotFound.problem, detail: `There is no export ${JSON.stringify(failure.id.slice(0, 60))}` }
    case "MethodNotAllowed": {
      const { method, allow } = failure
      // RFC 9110 §15.5.6: Allow is required.
      const headers = { Allow: allow }
      return { type: MethodNotAllowed.problem, detail: `${method} is not allowed here; allowed: ${allow}`, headers }
    }
    case "MisdirectedRequest":
      return { type: MisdirectedRequest.problem, detail: `The host ${JSON.stringify(failure.host)} is not served here` }
    case "ForeignOrigin":
      return { type: ForeignOrigin.problem, detail: `A page of the origin ${JSON.stringify(failure.origin)} may not do this` }
    case "UnsupportedMediaType":
      return {
        type: UnsupportedMediaType.problem,
        detail: `The body must have the Content-Type application/json, in UTF-8, ${failure.type === undefined ? "and has none" : `not ${JSON.stringify(failure.type)}`}`,
        // RFC 9110 §15.5.16 defines Accept here; clients of POST look for Accept-Post.
        headers: { Accept: MEDIA_TYPE, "Accept-Post": MEDIA_TYPE }
      }
    case "NotDownloadable":
      return downloadProblem(failure)
    case "RangeNotSatisfiable":
      return {
        type: RangeNotSatisfiable.problem,
        detail: `The range lies outside the file of ${failure.bytes} bytes`,
        // RFC 9110 §15.5.17: the actual length, so that the client can ask again.
        headers: { "Content-Range": `bytes */${failure.bytes}`, "Accept-Ranges": "bytes" }
      }
    case "PreconditionFailed":
      return { type: PreconditionFailed.problem, detail: failure.detail }
    case "RateLimited":
      return {
        type: RateLimited.problem,
        detail: `Too many requests with this key; try again in ${failure.retryAfterSeconds} s`,
        error: "Too many requests - rate limit exceeded",
        headers: { "Retry-After": String(failure.retryAfterSeconds) }
      }
    case "TooManyStreams":
      return tooManyStreams(failure)
    case "QueueFull":
      return retryLater(
        QueueFull.problem,
        `There are ${failure.limit} unfinished exports already, which is the most; try again when one of them has ended`
      )
    case "StreamTooLong":
      return { type: StreamTooLong.problem, detail: failure.detail }
    case "Unavailable":
      return retryLater(Unavailable.problem, failure.detail)
    case "NotReady":
      return retryLater(NotReady.problem, "Not ready", failure.errors)
    case "SourceBusy":
      return retryLater(SourceBusy.problem, failure.message)
    case "SourceError":
      return sourceProblem(failure)
    case "DatabaseError":
      return databaseProblem(failure)
    case "StorageError":
      return storageProblem(failure)
  }
}

/** The problem document (RFC 9457) of a failure; `instance` is the path of the request. */
export const problemResponse = (failure: HttpFailure, instance: string): Response => toResponse(problemOf(failure), instance)

/** The document of what nobody foresaw; the log has the rest. */
export const defectResponse = (instance: string): Response => toResponse({ type: internalError, detail: INTERNAL }, instance)

const encode = Schema.encodeSync(ProblemDocument)

const toResponse = ({ type, detail, errors = [], error = detail, headers = {} }: Problem, instance: string): Response => {
  const { status } = type
  const document = { type: problemUrn(type), title: STATUS_CODES[status] ?? "Error", status, detail, instance, errors, error }
  return Response.json(encode(document), {
    status,
    headers: { "Content-Type": "application/problem+json", "Cache-Control": "no-store", ...headers }
  })
}
