/** What an export of each dataset may be asked for, as OpenAPI describes it. */
import { Schema } from "effect"
import { jsonTypeOf, type Column } from "../../datasets/column.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import { operatorsOf } from "../../datasets/filters/operators.ts"
import { DEFAULT_DATASET } from "../../datasets/users.ts"
import { declaredFields } from "../../exports/parameter-fields.ts"
import { reservedParameters } from "../../exports/parameters.ts"
import { limits } from "../../limits.ts"
import {
  allInBody,
  bodyOf,
  filterGroups,
  filterOf,
  optionReferences,
  propertiesOf,
  queryParameter,
  refer
} from "./export-components.ts"
import type { JsonSchema, Operation, Parameter, PathItem } from "./types.ts"

const BASE_PATH = "/exports/csv"

const filterable = ({ columns }: Dataset): ReadonlyArray<Column> => [...columns.values()].filter((column) => column.filterable)

/** Returns the first datasets, as many as the document describes. */
export const describedOf = (datasets: ReadonlyArray<Dataset>): ReadonlyArray<Dataset> => {
  let columns = 0
  const end = datasets.findIndex((dataset) => {
    columns += Math.max(filterable(dataset).length, limits.describedLeastColumns)
    return columns > limits.describedColumns
  })
  return end === -1 ? datasets : datasets.slice(0, end)
}

/** Columns with the same operators have the same filters, which are described once. */
const kindOf = (column: Column) => operatorsOf(column).join(".")
const inQuery = (column: Column) => `QueryFilter.${kindOf(column)}`
const inBody = (column: Column) => `Filter.${kindOf(column)}`

/** Describes the filters of the columns of some datasets. */
export const filterSchemas = (datasets: ReadonlyArray<Dataset>): Readonly<Record<string, JsonSchema>> =>
  Object.fromEntries(
    [...new Map(datasets.flatMap(filterable).map((column) => [kindOf(column), column])).values()].flatMap((column) => {
      const description = `Filters with an operator (${operatorsOf(column).join(", ")}) and a value, or with a value that the column equals.`
      return [
        [inQuery(column), { description, type: "array", items: { type: "string", minLength: 1, examples: ["is.not_null"] } }],
        [inBody(column), { description, ...filterOf() }]
      ]
    })
  )

/** A column may have several filters. */
const columnFilter = (column: Column): Parameter => ({
  name: column.name,
  in: "query",
  required: false,
  description: `Filters of the column, of type ${column.type}.`,
  style: "form",
  explode: true,
  schema: refer("schemas", inQuery(column))
})

/** Describes the filters in the body of a dataset. The names of columns may be quoted, and JSON has paths. */
const whereOf = (columns: ReadonlyArray<Column>): JsonSchema => ({
  type: "object",
  properties: Object.fromEntries([
    ...filterGroups.map((name) => [name, refer("schemas", "FilterGroup")]),
    ...columns.map((column) => [column.name, refer("schemas", filterGroups.includes(column.name) ? "Filter" : inBody(column))])
  ]),
  patternProperties: { [columns.some(jsonTypeOf) ? '^"|->' : '^"']: refer("schemas", "Filter") },
  additionalProperties: false
})

/** Describes `total` and its other name for a dataset that has a limit of its own. */
const totalsOf = ({ maxRows }: Dataset): Readonly<Record<string, JsonSchema>> => {
  const total = {
    description: `The most rows that the file has, at most ${maxRows}.`,
    type: "integer",
    minimum: 1,
    maximum: maxRows
  }
  return maxRows === undefined ? {} : { total, limit: { ...total, description: "Another name of `total`." } }
}

/** Makes names of operations, which may not have all characters that a dataset may have. */
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

const datasetItem = (dataset: Dataset, base: PathItem, operationName: string): PathItem => {
  const own = propertiesOf(Schema.Struct(declaredFields(dataset)))
  const totals = totalsOf(dataset)
  const columns = filterable(dataset)
  const named = { type: "string", const: dataset.name, description: "The dataset that is exported." }
  const isDefault = dataset.name === DEFAULT_DATASET
  // A filter by a column with the name of a parameter stands in `where` alone.
  const taken = new Set([...Object.keys(own), ...reservedParameters, ...filterGroups])
  const replaced = new Set(Object.keys(totals).map((name) => refer("parameters", name).$ref))
  const body = bodyOf({
    type: "object",
    allOf: [refer("schemas", "ExportOptions")],
    properties: { dataset: named, ...allInBody({ ...own, ...totals }), where: whereOf(columns) },
    ...(!isDefault && { required: ["dataset"] }),
    unevaluatedProperties: false
  })

  const operation = (method: "get" | "post"): Operation => {
    const { operationId, summary, tags, parameters, responses } = base[method]!
    const responsePath = `#/paths/${BASE_PATH.replaceAll("/", "~1")}/${method}/responses`
    return {
      operationId: `${operationId}.${operationName}`,
      summary: `${summary} of ${dataset.name}`,
      tags,
      parameters: parameters.filter((parameter) => !("$ref" in parameter)),
      ...(method === "post" && { requestBody: body }),
      responses: Object.fromEntries(Object.keys(responses).map((status) => [status, { $ref: `${responsePath}/${status}` }]))
    }
  }
  return {
    parameters: [
      queryParameter("dataset", named, !isDefault),
      ...Object.entries({ ...own, ...totals }).map(([name, schema]) => queryParameter(name, schema)),
      ...columns.filter(({ name }) => !taken.has(name)).map(columnFilter),
      ...optionReferences.filter(({ $ref }) => !replaced.has($ref))
    ],
    get: operation("get"),
    post: operation("post")
  }
}

/**
 * Describes the exports of each dataset by a path of its own. OpenAPI has no path with a query, so the name of the dataset
 * stands in a fragment, which clients do not send.
 */
export const datasetPaths = (datasets: ReadonlyArray<Dataset>, base: PathItem): Readonly<Record<string, PathItem>> => {
  const operationName = operationNames()
  return Object.fromEntries(
    datasets.map((dataset) => [
      `${BASE_PATH}#dataset=${encodeURIComponent(dataset.name)}`,
      datasetItem(dataset, base, operationName(dataset.name))
    ])
  )
}
