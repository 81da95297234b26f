import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as OpenApi from "@effect/platform/OpenApi"
import { Schema } from "effect"
import { ExportNotFound } from "../../jobs/store/queries.ts"
import { DatabaseError } from "../../postgres/app-database.ts"
import { QueueFull } from "../../jobs/store/commands.ts"
import { TooManyStreams } from "../../rate-limit/stream-turns.ts"
import { SourceBusy } from "../../source/admission.ts"
import { SourceError } from "../../source/source-error.ts"
import { StorageError } from "../../storage/export-storage.ts"
import { Estimate, ExportAccepted, ExportDocument, ExportId, ExportList } from "./documents.ts"
import { bytes, empty, file, header, says } from "./endpoint.ts"
import {
  InvalidRequest,
  NotDownloadable,
  PreconditionFailed,
  RangeNotSatisfiable,
  RateLimited,
  StreamTooLong,
  Unavailable,
  UnsupportedMediaType
} from "../failures.ts"
import { Page } from "../request/page.ts"
import { StreamParameters } from "../request/stream-parameters.ts"

const store = [DatabaseError.problem]
const stored = [ExportNotFound.problem, ...store]
const body = [
  InvalidRequest.problems[408],
  InvalidRequest.problems[413],
  UnsupportedMediaType.problem,
  Unavailable.problem
] as const
/** What a request that asks the source database may fail with. */
const asked = [RateLimited.problem, SourceError.problems.refused, SourceError.problems.unavailable, SourceBusy.problem]
const create = [...body, ...asked, QueueFull.problem, ...store]

const acceptEncoding = header("gzip and zstd are made on the fly.")
const apiKey = header("The key whose requests are counted together; without one, the client's address is.")

const ExportPath = Schema.Struct({ id: ExportId })
const noStore = ["Cache-Control"]

const createExport = <const Name extends string>(name: Name, path: `/${string}`) =>
  HttpApiEndpoint.post(name, path)
    .setHeaders(Schema.Struct({ "X-API-Key": apiKey }))
    .addSuccess(ExportAccepted, { status: 202 })
    .annotateContext(
      says("Creates an export", {
        headers: { 202: ["Location", "Retry-After", ...noStore] },
        problems: create,
        ofDataset: true
      })
    )

const exportStatus = <const Name extends string>(name: Name, path: `/${string}`) =>
  HttpApiEndpoint.get(name, path)
    .setPath(ExportPath)
    .addSuccess(ExportDocument)
    .annotateContext(
      says("Shows an export and its progress", { headers: { 200: ["Retry-After?", ...noStore] }, problems: stored })
    )

const validators = ["ETag", "Last-Modified", "Cache-Control", "Vary", "Accept-Ranges", "X-Content-Type-Options"]

/** Paths with a name in them come last: the router takes the first that fits. */
export const exports = HttpApiGroup.make("exports", { topLevel: true })
  .add(
    HttpApiEndpoint.get("listExports", "/exports")
      .setUrlParams(Page)
      .addSuccess(ExportList)
      .annotateContext(says("Lists exports, newest first", { headers: { 200: noStore }, problems: store }))
  )
  .add(createExport("createExportInList", "/exports"))
  .add(
    HttpApiEndpoint.post("estimateExport", "/exports/estimate")
      .setHeaders(Schema.Struct({ "X-API-Key": apiKey }))
      .addSuccess(Estimate)
      .annotateContext(
        says("Estimates the rows, the bytes and the time of an export", {
          headers: { 200: noStore },
          problems: [...body, ...asked, ...store],
          ofDataset: true,
          window: "estimate"
        })
      )
  )
  .add(
    HttpApiEndpoint.get("streamExport", "/exports/csv")
      .setUrlParams(StreamParameters)
      .setHeaders(Schema.Struct({ "X-API-Key": apiKey, "Accept-Encoding": acceptEncoding }))
      .addSuccess(file("The file, made while it is read."))
      .annotateContext(
        says("Streams an export", {
          headers: {
            200: [
              "Content-Disposition",
              "Content-Encoding?",
              "Sluice-Truncated?",
              "Vary",
              "X-Accel-Buffering",
              "X-Content-Type-Options",
              ...noStore
            ]
          },
          problems: [...asked, TooManyStreams.problem, StreamTooLong.problem],
          ofDataset: true,
          window: "stream"
        })
      )
  )
  .add(createExport("createExport", "/exports/csv"))
  .add(exportStatus("getExport", "/exports/:id"))
  .add(
    HttpApiEndpoint.del("deleteExport", "/exports/:id")
      .setPath(ExportPath)
      .addSuccess(empty(204, "The export is cancelled, or its file is removed."))
      .annotateContext(
        says("Cancels an export, or removes its file", {
          headers: { 204: [] },
          problems: stored
        })
      )
  )
  .add(exportStatus("getExportStatus", "/exports/:id/status"))
  .add(
    HttpApiEndpoint.get("downloadExport", "/exports/:id/download")
      .setPath(ExportPath)
      .setHeaders(
        Schema.Struct({
          Range: header("One range of bytes. Several are answered with the whole file."),
          "If-Range": header("An ETag or a date: the range is only sent if the file is still that one."),
          "If-Match": header("The file is only sent if it has one of these ETags."),
          "If-None-Match": header("The file is only sent if it has none of these ETags."),
          "If-Modified-Since": header("The file is only sent if it is newer."),
          "If-Unmodified-Since": header("The file is only sent if it is not newer."),
          "Accept-Encoding": acceptEncoding,
          "Want-Repr-Digest": header("sha-256=1 asks for a digest of the file (RFC 9530).")
        })
      )
      .addSuccess(file("The file."))
      .addSuccess(file("A range of the file.", 206))
      .addSuccess(empty(304, "The client has this file."))
      .annotateContext(
        says("Downloads the file of an export", {
          headers: {
            200: [
              ...validators,
              "Content-Disposition",
              "Content-Encoding?",
              "Content-Length?",
              "Repr-Digest?",
              "Sluice-Truncated?"
            ],
            206: [...validators, "Content-Disposition", "Content-Length", "Content-Range", "Repr-Digest?", "Sluice-Truncated?"],
            304: validators
          },
          problems: [
            ...stored,
            ...Object.values(NotDownloadable.problems),
            ...Object.values(StorageError.problems),
            PreconditionFailed.problem,
            RangeNotSatisfiable.problem
          ]
        })
      )
  )
  .add(
    HttpApiEndpoint.get("exportEvents", "/exports/:id/events")
      .setPath(ExportPath)
      .setHeaders(Schema.Struct({ "Last-Event-ID": header("`final`, the id of the last event, ends the events with 204.") }))
      .addSuccess(bytes("text/event-stream", "An event `status` with the export at once and after each change."))
      .addSuccess(empty(204, "There will be no further event."))
      .annotateContext(
        says("Sends the progress of an export as Server-Sent Events", {
          headers: { 200: ["X-Accel-Buffering", ...noStore], 204: [] },
          problems: [...stored, Unavailable.problem]
        })
      )
  )
  .annotate(OpenApi.Description, "Exports: made as jobs and downloaded, or streamed.")
