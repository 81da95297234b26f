/** What an export may be asked for, as OpenAPI describes it: for any dataset, and for each of them. */
import { makeWithDefs } from "@effect/platform/OpenApiJsonSchema"
import { Schema } from "effect"
import type { Column } from "../datasets/column.ts"
import type { Dataset } from "../datasets/dataset.ts"
import { operatorsOf } from "../datasets/filters/operators.ts"
import { DEFAULT_DATASET } from "../datasets/users.ts"
import { commonFields, declaredFields } from "../exports/parameter-fields.ts"
import { reservedParameters } from "../exports/parameters.ts"
import type { JsonSchema, Operation, Parameter, PathItem, Reference } from "./openapi-types.ts"

const BASE_PATH = "/exports/csv"

/** The members of a schema. */
const propertiesOf = <A, I>(schema: Schema.Schema<A, I>): Readonly<Record<string, JsonSchema>> => {
  const { properties = {} } = makeWithDefs(schema, { defs: {} }) as unknown as JsonSchema
  return properties
}

/** A query has texts alone, where a body may have a list. */
const inQuery = ({ anyOf, ...schema }: JsonSchema): JsonSchema => (Array.isArray(anyOf) ? { ...schema, type: "string" } : schema)

const queryParameter = (name: string, schema: JsonSchema, required = false): Parameter => {
  const { description = "" } = schema as { readonly description?: string }
  return { name, in: "query", required, description, schema: inQuery(schema) }
}

const optionNames = Object.keys(commonFields({ columns: new Map() })).filter((name) => name !== "dataset")

const filterLists = ["or", "and", "not.or", "not.and"]
const filterList = (name: string): Parameter => ({
  name,
  in: "query",
  required: false,
  description: "A list of filters in parentheses, nested as needed: `(id.lt.10,and(id.gt.99,name.like.A*))`.",
  schema: { type: "string", pattern: String.raw`^\s*\(` }
})

/** Every column of the dataset may be filtered by, so the names of these parameters depend on it. */
const filters: Parameter = {
  name: "filters",
  in: "query",
  required: false,
  description:
    "Filters: the name of a column, or a path into its JSON, with an operator and a value (`lifetime_value=gte.100`). A " +
    "value alone means `eq`. A column may have several filters if each has an operator. All must hold.",
  style: "form",
  explode: true,
  schema: { type: "object", additionalProperties: { type: "array", items: { type: "string" } } }
}

const refer = (kind: "parameters" | "schemas", name: string): Reference => ({ $ref: `#/components/${kind}/${name}` })
const optionReferences = [...optionNames, ...filterLists].map((name) => refer("parameters", name))

/** The query parameters of an export of any dataset. */
export const exportParameters: ReadonlyArray<Reference> = [
  refer("parameters", "dataset"),
  ...optionReferences,
  refer("parameters", "filters")
]

const bodyOf = (schema: JsonSchema) => ({ required: false, content: { "application/json": { schema } } })

/** The body of an export of any dataset: its parameters may be there or in the query. */
export const exportBody = bodyOf(refer("schemas", "ExportRequest"))

/** Makes the components that exports refer to. It is not done before somebody asks: the process is then smaller by some MB. */
export const exportComponents = () => {
  const common = propertiesOf(Schema.Struct(commonFields({ columns: new Map() })))
  const { dataset: anyDataset = {}, ...options } = common
  return {
    parameters: Object.fromEntries(
      [
        ...Object.entries(common).map(([name, schema]) => queryParameter(name, schema)),
        ...filterLists.map(filterList),
        filters
      ].map((parameter) => [parameter.name, parameter])
    ),
    schemas: {
      ExportOptions: { type: "object", description: "The parameters of an export of any dataset.", properties: options },
      FilterValue: {
        description: "An operator and a value, or a value alone, which means `eq`.",
        type: ["string", "number", "boolean"]
      },
      Filter: {
        description:
          "A filter, several that must all hold, or, for `or`, `and`, `not.or` and `not.and`, a list of objects with filters.",
        anyOf: [
          refer("schemas", "FilterValue"),
          { type: "array", items: { anyOf: [refer("schemas", "FilterValue"), refer("schemas", "Where")] } }
        ]
      },
      Where: {
        type: "object",
        description: "Filters by the names of their columns, or of paths into their JSON. All members must hold.",
        additionalProperties: refer("schemas", "Filter")
      },
      ExportRequest: {
        description: "An export of any dataset. A dataset may declare further parameters.",
        type: "object",
        allOf: [refer("schemas", "ExportOptions")],
        properties: { dataset: anyDataset, where: refer("schemas", "Where") },
        unevaluatedProperties: { type: ["string", "number", "boolean"] }
      }
    }
  }
}

/** Names of operations, which may not have all characters that a dataset may have. */
const operationNames = () => {
  const taken = new Set<string>()
  return (name: string): string => {
    const plain = name.replaceAll(/[^\w.-]/g, "_")
    let free = plain
    for (let index = 2; taken.has(free); index++) free = `${plain}-${index}`
    taken.add(free)
    return free
  }
}

const filterDescription = (column: Column) =>
  `A filter of the column, of type ${column.type}: an operator and a value, or a value that it equals. Its operators are ` +
  `${operatorsOf(column).join(", ")}.`

/** A column may have several filters. */
const columnFilter = (column: Column): Parameter => ({
  ...queryParameter(column.name, {
    description: filterDescription(column),
    type: "array",
    items: { type: "string", examples: ["is.not_null"] }
  }),
  style: "form",
  explode: true
})

const datasetItem = (dataset: Dataset, base: PathItem, operationName: string): PathItem => {
  const own = propertiesOf(Schema.Struct(declaredFields(dataset)))
  const filterable = [...dataset.columns.values()].filter((column) => column.filterable)
  const named: JsonSchema = { type: "string", const: dataset.name }
  const isDefault = dataset.name === DEFAULT_DATASET
  const where = Object.fromEntries(
    filterable.map((column) => [column.name, { ...refer("schemas", "Filter"), description: filterDescription(column) }])
  )
  // A filter by a column with the name of a parameter stands in `where` alone.
  const taken = new Set([...Object.keys(own), ...reservedParameters, ...filterLists])
  const parameters = [
    queryParameter("dataset", named, !isDefault),
    ...Object.entries(own).map(([name, schema]) => queryParameter(name, schema)),
    ...filterable.filter(({ name }) => !taken.has(name)).map(columnFilter),
    ...optionReferences
  ]
  const body = bodyOf({
    type: "object",
    allOf: [refer("schemas", "ExportOptions")],
    properties: {
      dataset: named,
      ...own,
      where: { type: "object", properties: where, additionalProperties: refer("schemas", "Filter") }
    },
    ...(!isDefault && { required: ["dataset"] }),
    unevaluatedProperties: false
  })

  const operation = (method: "get" | "post"): Operation => {
    const { operationId, summary, tags, parameters: all, responses } = base[method] as Operation
    const others = all.filter((parameter) => !("$ref" in parameter))
    const responsePath = `#/paths/${BASE_PATH.replaceAll("/", "~1")}/${method}/responses`
    return {
      operationId: `${operationId}.${operationName}`,
      summary: `${summary} of ${dataset.name}`,
      tags,
      parameters: [...parameters, ...others],
      ...(method === "post" && { requestBody: body }),
      responses: Object.fromEntries(Object.keys(responses).map((status) => [status, { $ref: `${responsePath}/${status}` }]))
    }
  }
  return { get: operation("get"), post: operation("post") }
}

/**
 * Describes the exports of each dataset by a path of its own. OpenAPI has no path with a query, so the name of the dataset
 * stands in a fragment, which clients do not send.
 */
export const datasetPaths = (datasets: Iterable<Dataset>, base: PathItem): Readonly<Record<string, PathItem>> => {
  const operationName = operationNames()
  return Object.fromEntries(
    [...datasets].map((dataset) => [
      `${BASE_PATH}#dataset=${encodeURIComponent(dataset.name)}`,
      datasetItem(dataset, base, operationName(dataset.name))
    ])
  )
}
