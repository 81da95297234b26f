/** Reads the description of the API, and checks the answers of the service against it. */
import { expect } from "bun:test"
import Ajv from "ajv/dist/2020"
import formats from "ajv-formats"
import type {
  Document,
  Header,
  JsonSchema,
  Operation,
  Parameter,
  ResponseObject as Described
} from "../../src/http/openapi/types.ts"

export interface DescribedOperation {
  readonly path: string
  readonly method: string
  readonly operation: Operation
  readonly parameters: ReadonlyArray<Parameter>
}

const follow = <A extends object>(document: Document, value: A | { readonly $ref: string }): A => {
  if (!("$ref" in value) || typeof value.$ref !== "string") return value as A
  const keys = value.$ref.slice(2).split("/")
  return keys.reduce<unknown>(
    (part, key) => (part as Record<string, unknown>)[key.replaceAll("~1", "/").replaceAll("~0", "~")],
    document
  ) as A
}

export const operationsOf = (document: Document): ReadonlyArray<DescribedOperation> =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    (["get", "post", "delete"] as const).flatMap((method) => {
      const operation = item[method]
      if (!operation) return []
      const parameters = [...(item.parameters ?? []), ...operation.parameters]
        .map((parameter) => follow(document, parameter))
        .map((parameter) => ({ ...parameter, schema: follow(document, parameter.schema) }))
      return [{ path, method: method.toUpperCase(), operation, parameters }]
    })
  )

/** Headers that HTTP and the runtime add to any answer. */
const ANY_ANSWER = new Set(["connection", "content-type", "content-length", "date", "transfer-encoding"])

/** Forbids members that are not described, so that no description is forgotten. */
const strict = (schema: unknown, isPart = false): unknown => {
  if (Array.isArray(schema)) return schema.map((item) => strict(item, isPart))
  if (typeof schema !== "object" || schema === null) return schema
  const { additionalProperties, ...rest } = schema as JsonSchema
  const members = Object.entries(rest).map(([key, value]) => [key, key === "const" ? value : strict(value, key === "allOf")])
  const open = additionalProperties === undefined || additionalProperties === true
  return {
    ...Object.fromEntries(members),
    ...(!open && { additionalProperties }),
    ...(open && !isPart && rest["type"] === "object" && rest.properties && { unevaluatedProperties: false })
  }
}

/** Returns the description of an operation's answers of a status. */
export const responseOf = (document: Document, { operation }: DescribedOperation, status: number) =>
  follow<Described>(document, operation.responses[String(status)]!)

/** Returns what is wrong with the JSON body of a request to an operation, by its description. */
export const wrongInBody = ({ components }: Document, { operation }: DescribedOperation, body: unknown) => {
  const validate = new Ajv({ strict: false, allErrors: true }).compile({
    allOf: [operation.requestBody!.content["application/json"]!.schema],
    components
  })
  return validate(body) ? [] : validate.errors
}

/** Makes a function that checks whether an answer is as an operation describes it. */
export const makeChecker = (document: Document) => {
  const ajv = new Ajv({ strict: false, allErrors: true })
  formats.default(ajv)
  const { schemas } = document.components
  const { OpenApiDocument, ...others } = schemas
  const components = { schemas: { ...(strict(others) as typeof schemas), OpenApiDocument } }
  const compiled = new Map<JsonSchema, ReturnType<typeof ajv.compile>>()
  const fits = (schema: JsonSchema, value: unknown) => {
    const validate = compiled.get(schema) ?? ajv.compile({ allOf: [strict(schema, true)], components })
    compiled.set(schema, validate)
    return validate(value) ? [] : validate.errors
  }

  return async ({ method, path, operation }: DescribedOperation, answer: Response): Promise<Described> => {
    const text = answer.status === 304 || answer.status === 204 ? "" : await answer.text()
    const where = { operation: `${method} ${path}`, status: answer.status }
    expect({ ...where, described: Object.keys(operation.responses), body: text.slice(0, 300) }).toEqual({
      ...where,
      described: expect.arrayContaining([String(answer.status)]),
      body: expect.any(String)
    })
    const described = follow<Described>(document, operation.responses[String(answer.status)]!)
    const headers: Readonly<Record<string, Header>> = described.headers ?? {}
    const missing = Object.keys(headers).filter((name) => headers[name]!.required && !answer.headers.has(name))
    const known = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
    const unknown = [...answer.headers.keys()].filter((name) => !known.has(name) && !ANY_ANSWER.has(name))
    expect({ ...where, missing, unknown }).toEqual({ ...where, missing: [], unknown: [] })

    const [type = ""] = (answer.headers.get("Content-Type") ?? "").split(";")
    if (!described.content) {
      expect({ ...where, text }).toEqual({ ...where, text: "" })
      return described
    }
    const media = described.content[type]
    expect({ ...where, type, described: media !== undefined }).toEqual({ ...where, type, described: true })
    const value: unknown = type.endsWith("json") ? JSON.parse(text) : text
    expect({ ...where, value, wrong: fits(media!.schema, value) }).toEqual({ ...where, value, wrong: [] })
    return described
  }
}
