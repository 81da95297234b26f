/** The description of the API (OpenAPI 3.1), made from the schemas that decode requests and encode answers. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as OpenApi from "@effect/platform/OpenApi"
import { Option, SchemaAST } from "effect"
import type { Dataset } from "../../datasets/dataset.ts"
import { api } from "../api.ts"
import { servedEndpoints, type Served } from "../endpoints/endpoint.ts"
import { ForeignOrigin, InvalidRequest, MisdirectedRequest, type ProblemType } from "../failures.ts"
import { datasetPaths, describedOf, filterSchemas } from "./dataset-paths.ts"
import { anyExportBody, anyExportParameters, exportComponents } from "./export-components.ts"
import { headerDescriptions } from "./header-descriptions.ts"
import type { Document, Header, Media, Method, Operation, ResponseObject } from "./types.ts"
import { internalError, problemTypes, problemUrn } from "../problem.ts"
import { prefixes } from "../request-env.ts"

const DESCRIPTION =
  "Exports of PostgreSQL data as CSV, as jobs whose file is downloaded later and as direct streams. Each GET has a HEAD. " +
  "Unknown, repeated and empty parameters are refused, and all mistakes of single parameters are reported at once. The paths " +
  "`/exports/csv#dataset=NAME` describe `/exports/csv?dataset=NAME`: what stands after `#` is not sent. They list the " +
  "filters and the parameters of each dataset, which POST /exports and POST /exports/estimate take, too."

/** What any request may be answered with before it reaches its endpoint, or instead of its answer. */
const anyProblem: ReadonlyArray<ProblemType> = [
  InvalidRequest.problems[400],
  InvalidRequest.problems[414],
  MisdirectedRequest.problem,
  internalError
]
const writeProblem: ReadonlyArray<ProblemType> = [...anyProblem, ForeignOrigin.problem]

/** The headers of all problem documents of a status. */
const problemHeaders: Readonly<Record<number, ReadonlyArray<string>>> = {
  408: ["Connection?"],
  415: ["Accept", "Accept-Post"],
  416: ["Content-Range", "Accept-Ranges"],
  425: ["Retry-After"],
  429: ["Retry-After"],
  503: ["Retry-After"]
}

const headersOf = (names: ReadonlyArray<string>): Record<string, Header> =>
  Object.fromEntries(
    names.map((written) => {
      const name = written.replace("?", "")
      const description = headerDescriptions[name]!
      return [name, { description, required: name === written, schema: { type: "string" } }]
    })
  )

const describeProblems = (status: number, types: ReadonlyArray<ProblemType>, more: ReadonlyArray<string>): ResponseObject => ({
  description: types.map(({ meaning }) => meaning).join(" "),
  headers: headersOf(["Cache-Control", ...(problemHeaders[status] ?? []), ...more]),
  content: {
    "application/problem+json": {
      schema: {
        allOf: [
          { $ref: "#/components/schemas/Problem" },
          { type: "object", properties: { type: { enum: types.map(problemUrn) }, status: { const: status } } }
        ]
      }
    }
  }
})

/** The bodies of an answer by their media types, of which `fromApi` has the first alone. */
const contentOf = ({ content }: ResponseObject, ast: Option.Option<SchemaAST.AST>): Record<string, Media> | undefined => {
  if (!content || Option.isNone(ast)) return undefined
  const types = SchemaAST.isUnion(ast.value) ? ast.value.types : [ast.value]
  const names = types.map((type) => HttpApiSchema.getEncoding(type).contentType)
  return names.includes("application/json")
    ? { ...content }
    : Object.fromEntries(names.map((name) => [name, { schema: { type: "string" } }]))
}

const responsesOf = ({ endpoint, details, successes }: Served, made: Operation): Record<string, ResponseObject> => {
  const more = details.window ? ["RateLimit", "RateLimit-Policy"] : []
  const outer = endpoint.method === "GET" ? anyProblem : writeProblem
  const problems = [...outer, ...details.problems]
  const given = [...successes].map(([status, { ast }]) => {
    const response = made.responses[status] as ResponseObject
    const content = contentOf(response, ast)
    const headers = headersOf([...(details.headers[status] ?? []), ...more])
    return [status, { description: response.description, headers, ...(content && { content }) }] as const
  })
  const failed = [...Map.groupBy(problems, ({ status }) => status)]
    .toSorted(([one], [other]) => one - other)
    .map(([status, types]) => {
      const isOuter = types.some((type) => outer.includes(type))
      return [status, describeProblems(status, types, isOuter ? more.map((name) => `${name}?`) : more)] as const
    })
  return Object.fromEntries([...given, ...failed])
}

const completed = (served: Served, made: Operation): Operation => {
  const { endpoint, details } = served
  const { requestBody: _, ...operation } = made
  return {
    ...operation,
    parameters: [...made.parameters, ...(details.ofDataset ? anyExportParameters : [])],
    ...(details.ofDataset && endpoint.method === "POST" && { requestBody: anyExportBody }),
    responses: responsesOf(served, made)
  }
}

/** The type of problem documents, with each value that it may have. */
const problemTypeSchema = {
  description: "The kinds of problems, by which clients tell them apart.",
  oneOf: problemTypes.map((kind) => ({ const: problemUrn(kind), title: String(kind.status), description: kind.meaning }))
}

/** Parts of HttpApi's own server, which is not used. */
const FOREIGN = new Set(["HttpApiDecodeError", "Issue", "PropertyKey"])

const describeApi = (): Document => {
  const made = structuredClone(OpenApi.fromApi(api, { additionalPropertiesStrategy: "allow" })) as unknown as Document
  const paths: Document["paths"] = {}
  for (const served of servedEndpoints(api)) {
    const { endpoint, details } = served
    const path = endpoint.path.replaceAll(/:(\w+)/g, "{$1}")
    const method = endpoint.method.toLowerCase() as Method
    const operation = completed(served, made.paths[path]![method]!)
    paths[path] = { ...paths[path], ...(details.atRoot && { servers: [{ url: "/" }] }), [method]: operation }
  }
  const schemas = Object.fromEntries(Object.entries(made.components.schemas).filter(([name]) => !FOREIGN.has(name)))
  const { Problem: problem = {} } = schemas
  const ofExports = exportComponents()
  return {
    ...made,
    servers: prefixes.map((prefix) => ({ url: prefix || "/" })),
    paths,
    components: {
      ...ofExports,
      schemas: {
        ...schemas,
        ...ofExports.schemas,
        ProblemType: problemTypeSchema,
        Problem: { ...problem, properties: { ...problem.properties, type: { $ref: "#/components/schemas/ProblemType" } } }
      }
    }
  }
}

/** Says which datasets the document leaves out, since it would be too large with them. */
const omission = (count: number, all: number) =>
  count === all
    ? ""
    : ` Of the ${all} datasets, the first ${count} are described here; \`/datasets/{name}\` describes each of them.`

/** Returns the document of a service with these datasets. */
export const openApiDocument = (datasets: Iterable<Dataset>): Document => {
  const all = [...datasets]
  const first = describedOf(all)
  const { info, paths, components, ...document } = describeApi()
  return {
    ...document,
    info: { ...info, description: DESCRIPTION + omission(first.length, all.length) },
    paths: { ...paths, ...datasetPaths(first, paths["/exports/csv"]!) },
    components: { ...components, schemas: { ...components.schemas, ...filterSchemas(first) } }
  }
}
