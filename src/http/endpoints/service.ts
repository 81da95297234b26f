import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as OpenApi from "@effect/platform/OpenApi"
import { Schema } from "effect"
import { SourceError } from "../../source/source-error.ts"
import { Health, OpenApiDocument, Readiness } from "./documents.ts"
import { bytes, empty, header, says } from "./endpoint.ts"
import { NotFound, NotReady, PreconditionFailed } from "../failures.ts"

const noStore = ["Cache-Control"]
const ifNoneMatch = Schema.Struct({ "If-None-Match": header("An answer is only sent if it has none of these ETags.") })
/** The last one is not in an answer that nothing has changed. */
const documentHeaders = ["Cache-Control", "ETag", "X-Content-Type-Options", "Content-Length"]

export const service = HttpApiGroup.make("service", { topLevel: true })
  .add(
    HttpApiEndpoint.get("health", "/health")
      .addSuccess(Health)
      .annotateContext(says("Says whether the process lives", { headers: { 200: noStore }, problems: [], atRoot: true }))
  )
  .add(
    HttpApiEndpoint.get("ready", "/ready")
      .addSuccess(Readiness)
      .annotateContext(
        says("Says whether the databases and the storage answer", {
          headers: { 200: noStore },
          problems: [NotReady.problem],
          atRoot: true
        })
      )
  )
  .add(
    HttpApiEndpoint.get("getOpenApi", "/openapi.json")
      .setHeaders(ifNoneMatch)
      .addSuccess(OpenApiDocument)
      .addSuccess(empty(304, "The client has this document."))
      .annotateContext(
        says("Describes this API (OpenAPI 3.1)", {
          headers: { 200: documentHeaders, 304: documentHeaders.slice(0, -1) },
          problems: [SourceError.problems.unavailable, PreconditionFailed.problem],
          atRoot: true
        })
      )
  )
  .add(
    HttpApiEndpoint.get("getDocs", "/docs")
      .setHeaders(ifNoneMatch)
      .addSuccess(bytes("text/html", "A page that shows this description."))
      .addSuccess(empty(304, "The client has this page."))
      .annotateContext(
        says("Shows this description to people, who can try it", {
          headers: {
            200: [...documentHeaders, "Content-Security-Policy"],
            304: [...documentHeaders.slice(0, -1), "Content-Security-Policy"]
          },
          problems: [PreconditionFailed.problem],
          atRoot: true
        })
      )
  )
  .add(
    HttpApiEndpoint.get("getDocsFile", "/docs/:file")
      .setPath(Schema.Struct({ file: Schema.String.annotations({ description: "A file of the page.", examples: ["guide.md"] }) }))
      .setHeaders(ifNoneMatch)
      .addSuccess(
        Schema.Union(
          ...["text/javascript", "text/css", "text/markdown"].map((type) => bytes(type, "A file of the page at /docs."))
        )
      )
      .addSuccess(empty(304, "The client has this file."))
      .annotateContext(
        says("Sends a file of the page at /docs", {
          headers: { 200: documentHeaders, 304: documentHeaders.slice(0, -1) },
          problems: [NotFound.problems.path, PreconditionFailed.problem],
          atRoot: true
        })
      )
  )
  .annotate(OpenApi.Description, "The service itself.")
