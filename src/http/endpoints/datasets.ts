import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as OpenApi from "@effect/platform/OpenApi"
import { Schema } from "effect"
import { SourceError } from "../../source/source-error.ts"
import { DatasetDocument, DatasetList } from "./documents.ts"
import { says } from "./endpoint.ts"
import { NotFound } from "../failures.ts"

export const datasets = HttpApiGroup.make("datasets", { topLevel: true })
  .add(
    HttpApiEndpoint.get("listDatasets", "/datasets")
      .addSuccess(DatasetList)
      .annotateContext(
        says("Lists what may be exported", { headers: { 200: ["Cache-Control"] }, problems: [SourceError.problems.unavailable] })
      )
  )
  .add(
    HttpApiEndpoint.get("getDataset", "/datasets/:name")
      .setPath(Schema.Struct({ name: Schema.String.annotations({ description: "The name of a dataset." }) }))
      .addSuccess(DatasetDocument)
      .annotateContext(
        says("Describes a dataset", {
          headers: { 200: ["Cache-Control"] },
          problems: [NotFound.problems.dataset, SourceError.problems.unavailable]
        })
      )
  )
  .annotate(OpenApi.Description, "What may be exported.")
