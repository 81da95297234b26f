import * as HttpApi from "@effect/platform/HttpApi"
import type * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import type * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as OpenApi from "@effect/platform/OpenApi"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import { Context, Schema, type Option, type SchemaAST } from "effect"
import type { ProblemType } from "../failures.ts"

/** What the schemas of an endpoint do not say. */
export interface Details {
  /** The headers of its answers, by their status. One with a question mark is not in each of them. */
  readonly headers: Readonly<Record<number, ReadonlyArray<string>>>
  /** What it may fail with, beside what any request may. */
  readonly problems: ReadonlyArray<ProblemType>
  /** Its parameters and its body are those of an export: each dataset has its own, so that the handler decodes them. */
  readonly ofDataset?: boolean
  /** The window that limits its requests; its state is in the headers of each answer. */
  readonly window?: "stream" | "estimate"
  /** It stands under no prefix. */
  readonly atRoot?: boolean
}
export class EndpointDetails extends Context.Tag("EndpointDetails")<EndpointDetails, Details>() {}

/** Annotates an endpoint with a sentence that says what it does, and with its details. */
export const says = (summary: string, details: Details) =>
  Context.make(OpenApi.Summary, summary).pipe(Context.add(EndpointDetails, details))

/** A body that is no JSON. */
export const bytes = (contentType: string, description: string, status = 200) =>
  HttpApiSchema.Text({ contentType }).annotations({ description, ...HttpApiSchema.annotations({ status }) })
/** The file of an export. */
export const file = (description: string, status = 200) =>
  Schema.Union(bytes("text/csv", description, status), bytes("text/tab-separated-values", description, status))
export const empty = (status: number, description: string) => HttpApiSchema.Empty(status).annotations({ description })

/** A header of a request; its handler reads it. */
export const header = (description: string) => Schema.optionalWith(Schema.String.annotations({ description }), { exact: true })

/** An endpoint of the description, with what the router needs of it. */
export interface Served {
  readonly endpoint: HttpApiEndpoint.HttpApiEndpoint<string, HttpMethod>
  readonly details: Details
  /** The schemas of its answers by their status; the first is that of a document. */
  readonly successes: ReadonlyMap<number, { readonly ast: Option.Option<SchemaAST.AST> }>
}

/** Lists the endpoints of a description in its order. */
export const servedEndpoints = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R>
): ReadonlyArray<Served> => {
  const all: Array<Served> = []
  HttpApi.reflect(api, {
    onGroup: () => undefined,
    onEndpoint: ({ endpoint, mergedAnnotations, successes }) =>
      all.push({ endpoint, successes, details: Context.unsafeGet(mergedAnnotations, EndpointDetails) })
  })
  return all
}
