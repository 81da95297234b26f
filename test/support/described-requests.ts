/** Requests made from the description of the API. */
import type { Parameter } from "../../src/http/openapi/types.ts"
import type { DescribedOperation } from "./described.ts"

export interface Asked {
  readonly query?: string
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** What stands in the path. */
  readonly params?: Readonly<Record<string, string>>
}

/** The only value of a parameter that has one. */
export const constOf = ({ schema }: Parameter) => schema["const"] as string | undefined

/** Values that the schema of a parameter allows. */
export const allowedBy = ({ name, schema }: Parameter): ReadonlyArray<string> => {
  if (name === "filters") return []
  if (Array.isArray(schema["enum"])) return schema["enum"] as ReadonlyArray<string>
  if (Array.isArray(schema["examples"])) return (schema["examples"] as ReadonlyArray<unknown>).map(String)
  if (schema["type"] === "array") return ["is.null"]
  if (schema["type"] === "integer") return ["1", "2"]
  if (schema["type"] === "boolean") return ["true", "false"]
  return []
}

export const inQuery = ({ parameters }: DescribedOperation) => parameters.filter((parameter) => parameter.in === "query")

/** The member of a body that says which dataset an operation is for. */
export const datasetOf = (one: DescribedOperation) => {
  const dataset = inQuery(one)
    .map(constOf)
    .find((value) => value !== undefined)
  return dataset === undefined ? {} : { dataset }
}

/** Sends a request of an operation to a service. What the query must have is put into it. */
export const sendTo = (url: string, { path, method, parameters }: DescribedOperation, asked: Asked): Promise<Response> => {
  const { query = "", body, headers = {}, params = {} } = asked
  const target = path.split("#")[0]!.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name]!))
  const given = new Set(query.split("&").map((pair) => pair.split("=")[0]))
  const pairs = parameters
    .filter((parameter) => body === undefined && constOf(parameter) !== undefined && !given.has(parameter.name))
    .map((parameter) => `${parameter.name}=${encodeURIComponent(constOf(parameter)!)}`)
  const search = [...pairs, ...(query === "" ? [] : [query])].join("&")
  return fetch(`${url}${target}${search && `?${search}`}`, {
    method,
    headers: { ...(body !== undefined && { "Content-Type": "application/json" }), ...headers },
    ...(body !== undefined && { body })
  })
}
