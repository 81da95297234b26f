/**
 * The API as data. The router serves what stands here, /openapi.json describes it, and tests walk it; there is no other
 * list of the routes.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as OpenApi from "@effect/platform/OpenApi"
import { ProblemDocument } from "./endpoints/documents.ts"
import { datasets } from "./endpoints/datasets.ts"
import { exports } from "./endpoints/exports.ts"
import { service } from "./endpoints/service.ts"

/** The version of package.json, which a test compares. */
const VERSION = "0.1.0"

export const api = HttpApi.make("sluice")
  .add(exports)
  .add(datasets)
  .add(service)
  .annotate(HttpApi.AdditionalSchemas, [ProblemDocument])
  .annotate(OpenApi.Title, "Sluice")
  .annotate(OpenApi.Version, VERSION)
  .annotate(OpenApi.License, { name: "MIT", url: "https://opensource.org/license/mit" })
export type Endpoint = HttpApiGroup.HttpApiGroup.Endpoints<typeof exports | typeof datasets | typeof service>
