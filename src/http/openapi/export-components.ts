/** What an export of any dataset may be asked for, as OpenAPI describes it. */
import { makeWithDefs } from "@effect/platform/OpenApiJsonSchema"
import { Schema } from "effect"
import { commonFields } from "../../exports/parameter-fields.ts"
import type { JsonSchema, Parameter, Reference } from "./types.ts"

/** Returns the members of a schema. */
export const propertiesOf = <A, I>(schema: Schema.Schema<A, I>): Readonly<Record<string, JsonSchema>> => {
  const { properties = {} } = makeWithDefs(schema, { defs: {} }) as unknown as JsonSchema
  return properties
}

export const refer = (kind: "parameters" | "schemas", name: string): Reference => ({ $ref: `#/components/${kind}/${name}` })

/** Describes a text, which is never empty. */
const notEmpty = (schema: JsonSchema): JsonSchema =>
  schema["type"] === "string" && !schema["enum"] && !schema["pattern"] ? { ...schema, minLength: 1 } : schema

/** Describes a value in a query, which has texts alone where a body may have a list. */
const inQuery = ({ anyOf, ...schema }: JsonSchema): JsonSchema =>
  notEmpty(Array.isArray(anyOf) ? { ...schema, type: "string" } : schema)

export const queryParameter = (name: string, schema: JsonSchema, required = false): Parameter => {
  const { description = "" } = schema as { readonly description?: string }
  return { name, in: "query", required, description, schema: inQuery(schema) }
}

/** The JSON values that are read as a text: the text, and the number or the truth value that is written so. */
const writtenAs = (text: string): ReadonlyArray<unknown> => {
  if (text === "true" || text === "false") return [text, text === "true"]
  return /^-?\d/.test(text) && String(Number(text)) === text ? [text, Number(text)] : [text]
}

/** Describes a value in a JSON body, which may have a text as a number or a truth value, and these as texts. */
const inBody = (schema: JsonSchema): JsonSchema => {
  const { type, pattern, anyOf, ...others } = schema
  if (Array.isArray(schema["enum"])) return { ...others, enum: (schema["enum"] as ReadonlyArray<string>).flatMap(writtenAs) }
  if (type === "integer") return { ...others, type: ["integer", "string"], pattern: "^[0-9]+$" }
  if (type === "boolean") return { ...others, enum: [true, false, "true", "false"] }
  if (Array.isArray(anyOf)) return { ...others, anyOf: anyOf.map((one: JsonSchema) => notEmpty(one)) }
  if (type !== "string") return schema
  if (typeof pattern !== "string") return { ...notEmpty(schema), type: ["string", "number", "boolean"] }
  return { ...schema, type: new RegExp(pattern, "u").test("1") ? ["string", "number"] : "string" }
}

/** Describes each of these values in a JSON body. */
export const allInBody = (properties: Readonly<Record<string, JsonSchema>>): Readonly<Record<string, JsonSchema>> =>
  Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, inBody(schema)]))

const optionNames = Object.keys(commonFields({ columns: new Map() })).filter((name) => name !== "dataset")

export const filterGroups = ["or", "and", "not.or", "not.and"]
const filterGroup = (name: string): Parameter => ({
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
  schema: { type: "object", additionalProperties: { type: "array", items: { type: "string", minLength: 1 } } }
}

export const optionReferences = [...optionNames, ...filterGroups].map((name) => refer("parameters", name))

/** The query parameters of an export of any dataset. */
export const anyExportParameters: ReadonlyArray<Reference> = [
  refer("parameters", "dataset"),
  ...optionReferences,
  refer("parameters", "filters")
]

export const bodyOf = (schema: JsonSchema) => ({ required: false, content: { "application/json": { schema } } })

/** The body of an export of any dataset: its parameters may be there or in the query. */
export const anyExportBody = bodyOf(refer("schemas", "ExportRequest"))

const filterValue = refer("schemas", "FilterValue")

/** Describes a filter, or a list of several that must all hold. */
export const filterOf = (items: JsonSchema = filterValue): JsonSchema => ({
  anyOf: [filterValue, { type: "array", minItems: 1, items }]
})

/** Makes the components that exports refer to. It is not done before somebody asks: the process is then smaller by some MB. */
export const exportComponents = () => {
  const common = propertiesOf(Schema.Struct(commonFields({ columns: new Map() })))
  const { dataset = {}, ...options } = allInBody(common)
  return {
    parameters: Object.fromEntries(
      [
        ...Object.entries(common).map(([name, schema]) => queryParameter(name, schema)),
        ...filterGroups.map(filterGroup),
        filters
      ].map((parameter) => [parameter.name, parameter])
    ),
    schemas: {
      ExportOptions: {
        type: "object",
        description: "The parameters of an export of any dataset.",
        properties: options
      },
      FilterValue: {
        description: "An operator and a value, or a value alone, which means `eq`; null means `is.null`.",
        type: ["string", "number", "boolean", "null"],
        minLength: 1
      },
      Filter: {
        description:
          "A filter, several that must all hold, or, for `or`, `and`, `not.or` and `not.and`, a list of objects with filters.",
        ...filterOf({ anyOf: [filterValue, refer("schemas", "Where")] })
      },
      FilterGroup: {
        description: "Objects with filters, one or all of which must hold.",
        type: "array",
        minItems: 1,
        items: refer("schemas", "Where")
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
        properties: { dataset, where: refer("schemas", "Where") },
        unevaluatedProperties: { type: ["string", "number", "boolean"] }
      }
    }
  }
}
