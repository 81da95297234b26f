import { Data } from "effect"
import type { ExportStatus } from "../exports/export-job.ts"
import type { ExportNotFound } from "../jobs/store/queries.ts"
import type { DatabaseError } from "../postgres/app-database.ts"
import type { QueueFull } from "../jobs/store/commands.ts"
import type { TooManyStreams } from "../rate-limit/stream-turns.ts"
import type { SourceBusy } from "../source/admission.ts"
import type { SourceError } from "../source/source-error.ts"
import type { StorageError } from "../storage/export-storage.ts"
import type { FieldProblem } from "./endpoints/documents.ts"

/**
 * A kind of problem, as clients tell them apart: `type` is stable, sentences are not. Each failure that an answer may come
 * from names its own; `meaning` is for `/docs`.
 */
export interface ProblemType {
  readonly type: string
  readonly status: number
  readonly meaning: string
}

/** The request itself is wrong. `status` is 400 unless its kind has one of its own. */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{
  readonly detail: string
  readonly errors?: ReadonlyArray<FieldProblem>
  readonly status?: keyof typeof InvalidRequest.problems
}> {
  static readonly problems = {
    400: { type: "invalid-request", status: 400, meaning: "The request is wrong; `errors` names each field that is." },
    408: { type: "request-timeout", status: 408, meaning: "The body did not arrive in time." },
    413: { type: "body-too-large", status: 413, meaning: "The body is larger than is read." },
    414: { type: "url-too-long", status: 414, meaning: "The URL is longer than is read." }
  } as const
}

export class NotFound extends Data.TaggedError("NotFound")<{
  readonly detail: string
  readonly what: keyof typeof NotFound.problems
}> {
  static readonly problems = {
    path: { type: "not-found", status: 404, meaning: "There is nothing at this path." },
    dataset: { type: "dataset-not-found", status: 404, meaning: "There is no dataset of this name." }
  } as const
}

export class MethodNotAllowed extends Data.TaggedError("MethodNotAllowed")<{ readonly method: string; readonly allow: string }> {
  static readonly problem = {
    type: "method-not-allowed",
    status: 405,
    meaning: "The path exists, but not with this method; `Allow` lists those that it has."
  } as const
}

/** The request names a host that is not allowed. */
export class MisdirectedRequest extends Data.TaggedError("MisdirectedRequest")<{ readonly host: string }> {
  static readonly problem = {
    type: "misdirected-request",
    status: 421,
    meaning: "The request names a host that this service does not answer for (ALLOWED_HOSTS)."
  } as const
}

/** A web page of another origin asks for a change. */
export class ForeignOrigin extends Data.TaggedError("ForeignOrigin")<{ readonly origin: string }> {
  static readonly problem = {
    type: "foreign-origin",
    status: 403,
    meaning: "A web page of another origin asks for a change (CORS_ORIGINS)."
  } as const
}

/** The body is not JSON; `type` is its Content-Type, if it has one. */
export class UnsupportedMediaType extends Data.TaggedError("UnsupportedMediaType")<{ readonly type: string | undefined }> {
  static readonly problem = { type: "unsupported-media-type", status: 415, meaning: "The body is not application/json." } as const
}

/** The file of an export cannot be downloaded in its present status. */
export class NotDownloadable extends Data.TaggedError("NotDownloadable")<{
  readonly id: string
  readonly status: Exclude<ExportStatus, "completed">
  readonly error: string | null
}> {
  static readonly problems = {
    unfinished: { type: "export-not-finished", status: 425, meaning: "The export is not finished yet; try again later." },
    failed: { type: "export-failed", status: 409, meaning: "The export failed and has no file; `detail` says why." },
    gone: { type: "export-gone", status: 410, meaning: "The export was cancelled, or has expired; its file is gone." }
  } as const
}

export class RangeNotSatisfiable extends Data.TaggedError("RangeNotSatisfiable")<{ readonly bytes: number }> {
  static readonly problem = {
    type: "range-not-satisfiable",
    status: 416,
    meaning: "The range lies outside the file; `Content-Range` has the file's length."
  } as const
}

export class PreconditionFailed extends Data.TaggedError("PreconditionFailed")<{ readonly detail: string }> {
  static readonly problem = {
    type: "precondition-failed",
    status: 412,
    meaning: "If-Match or If-Unmodified-Since does not hold for the file."
  } as const
}

export class RateLimited extends Data.TaggedError("RateLimited")<{ readonly retryAfterSeconds: number }> {
  static readonly problem = {
    type: "rate-limited",
    status: 429,
    meaning: "This key or address has sent too many requests (RATE_LIMIT_MAX); `Retry-After` says when to try again."
  } as const
}

/** The source gave no row within the time that a stream may take. */
export class StreamTooLong extends Data.TaggedError("StreamTooLong")<{ readonly detail: string }> {
  static readonly problem = {
    type: "stream-timeout",
    status: 504,
    meaning: "The source database gave no row within the time that a stream may take (STREAM_MAX_TIME)."
  } as const
}

/** Not now, but perhaps in a second. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly detail: string }> {
  static readonly problem = { type: "service-busy", status: 503, meaning: "The service has too much to do; try again." } as const
}

export class NotReady extends Data.TaggedError("NotReady")<{
  readonly errors: ReadonlyArray<FieldProblem>
  readonly logged: string
}> {
  static readonly problem = {
    type: "not-ready",
    status: 503,
    meaning: "A database or the storage does not answer; `errors` names which."
  } as const
}

/** Every failure that a handler may end in. */
export type HttpFailure =
  | InvalidRequest
  | NotFound
  | ExportNotFound
  | MethodNotAllowed
  | MisdirectedRequest
  | ForeignOrigin
  | UnsupportedMediaType
  | NotDownloadable
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
