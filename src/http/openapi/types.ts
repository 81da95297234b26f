/** The parts of OpenAPI 3.1 that our description has. */

export interface JsonSchema {
  readonly [keyword: string]: unknown
  readonly properties?: Readonly<Record<string, JsonSchema>>
}

export type Reference = { readonly $ref: string }

export interface Parameter {
  readonly name: string
  readonly in: "query" | "path" | "header"
  readonly required: boolean
  readonly description?: string
  readonly schema: JsonSchema
  readonly explode?: boolean
  readonly style?: "form"
}

export interface Header {
  readonly description: string
  readonly required: boolean
  readonly schema: JsonSchema
}

export interface Media {
  readonly schema: JsonSchema
}

export interface ResponseObject {
  readonly description: string
  readonly headers?: Readonly<Record<string, Header>>
  readonly content?: Readonly<Record<string, Media>>
}

export interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly tags: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<Parameter | Reference>
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, ResponseObject | Reference>>
}

export type Method = "get" | "post" | "delete"

/** The operations of a path by their methods. */
export interface PathItem extends Readonly<Partial<Record<Method, Operation>>> {
  /** Where the path stands, if not under all servers. */
  readonly servers?: ReadonlyArray<{ readonly url: string }>
  /** The parameters that all of its operations have. */
  readonly parameters?: ReadonlyArray<Parameter | Reference>
}

export interface Document {
  readonly openapi: string
  readonly info: Readonly<Record<string, unknown>>
  readonly servers: ReadonlyArray<{ readonly url: string }>
  readonly paths: Record<string, PathItem>
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>
    readonly parameters?: Readonly<Record<string, Parameter>>
  }
  readonly tags: ReadonlyArray<{ readonly name: string; readonly description?: string }>
}
