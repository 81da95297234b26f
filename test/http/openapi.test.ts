/** The description of the API is valid for other programs, and describes what the service serves. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { Validator } from "@seriousme/openapi-schema-validator"
import { byName } from "../../src/datasets/column.ts"
import type { Dataset } from "../../src/datasets/dataset.ts"
import { api } from "../../src/http/api.ts"
import { servedEndpoints } from "../../src/http/endpoints/endpoint.ts"
import { openApiDocument } from "../../src/http/openapi/document.ts"
import { limits } from "../../src/limits.ts"
import { problemTypes, problemUrn } from "../../src/http/problem.ts"
import { columnOf, usersDataset } from "../support/datasets.ts"
import { operationsOf, type DescribedOperation } from "../support/described.ts"
import { temporaryDirectory } from "../support/shared-service.ts"

const root = join(import.meta.dir, "../..")

const tags = columnOf("tags", ["text[]", "text[]", "A"])
const orders: Dataset = {
  ...usersDataset,
  name: "sales.orders",
  columns: byName([columnOf("id", ["bigint", "bigint", "N"]), columnOf("total", ["numeric", "numeric", "N"]), tags]),
  parameters: { since: { column: "id", operator: "gte", pattern: "\\d+", allowed: "a whole number" } }
}
/** A name with all that a path of OpenAPI must not have, and one that makes the same name of an operation. */
const odd: Dataset = {
  ...usersDataset,
  name: 'a "{}" /#?',
  columns: byName([columnOf("<b>", ["text", "text", "S"]), { ...columnOf("secret", ["text", "text", "S"]), filterable: false }]),
  parameters: {}
}
const alike: Dataset = { ...odd, name: "a _{}_ /#?" }

const document = openApiDocument([usersDataset, orders, odd, alike])
const operations = operationsOf(document)
const operationAt = (path: string, method = "GET") => operations.find((one) => one.path === path && one.method === method)!
const queryNames = ({ parameters }: DescribedOperation) =>
  parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name)

/** Runs a program on the document and returns what it wrote. */
const run = async (...program: ReadonlyArray<string>) => {
  const file = join(await temporaryDirectory(), "openapi.json")
  await Bun.write(file, JSON.stringify(document))
  const child = Bun.spawn([process.execPath, ...program, file], {
    cwd: root,
    env: { PATH: process.env["PATH"], REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" },
    stderr: "pipe"
  })
  const [output, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()])
  return { code: await child.exited, output, complaint }
}

describe("a document of four datasets", () => {
  test("has no error and no warning for Redocly's linter", async () => {
    const { code, output, complaint } = await run("node_modules/@redocly/cli/bin/cli.js", "lint", "--format=json")
    expect({ complaint, problems: (JSON.parse(output) as { problems: unknown }).problems }).toEqual({
      complaint: expect.any(String),
      problems: []
    })
    expect(code).toBe(0)
  }, 30_000)

  test("is valid for @seriousme/openapi-schema-validator, as OpenAPI 3.1", async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(document) as never)).toEqual({ valid: true })
    expect(validator.version).toBe("3.1")
  })

  test("becomes types with openapi-typescript, in which each dataset has its filters", async () => {
    const { code, output } = await run("test/support/make-types.ts")
    expect(code).toBe(0)
    expect(output).toContain('"/exports/csv#dataset=sales.orders": {')
    expect(output).toMatch(
      /"streamExport\.sales\.orders": \{\s*parameters: \{\s*query: \{[^}]*\btags\?: components\["schemas"\]\["QueryFilter\.[a-z.]+"\]/
    )
  }, 30_000)

  test("names the filters and the parameters of each", () => {
    const users = queryNames(operationAt("/exports/csv#dataset=users"))
    expect(users).toEqual(expect.arrayContaining(["id", "email", "signup_date", "country_code", "min_ltv", "order_by", "or"]))
    const own = queryNames(operationAt("/exports/csv#dataset=sales.orders"))
    expect(own).toEqual(expect.arrayContaining(["dataset", "since", "id", "tags", "total"]))
    expect(own).not.toContain("country_code")
    for (const { parameters } of operations) {
      const names = parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
      expect(names).toEqual([...new Set(names)])
    }
  })

  test("names no column that may not be filtered by", () => {
    expect(queryNames(operationAt(`/exports/csv#dataset=${encodeURIComponent(odd.name)}`))).toContain("<b>")
    expect(JSON.stringify(document)).not.toContain("secret")
  })

  test("says which operators a column has", () => {
    const filter = operationAt("/exports/csv#dataset=sales.orders").parameters.find(({ name }) => name === "tags")
    expect(filter?.description).toContain("text[]")
    expect(filter?.schema["description"]).toContain("cs, cd, ov")
  })
})

describe("a document of a thousand datasets with 20 columns", () => {
  const columns = byName(Array.from({ length: 20 }, (_, n) => columnOf(`a_column_with_a_long_name_${n}`, ["text", "text", "S"])))
  const many = openApiDocument(
    Array.from({ length: 1_000 }, (_, n) => ({
      ...usersDataset,
      name: `schema.table_with_a_long_name_${n}`,
      parameters: {},
      columns
    }))
  )
  const described = Object.keys(many.paths).filter((path) => path.includes("#"))

  test("has less than 3 MB", () => {
    expect(JSON.stringify(many).length).toBeLessThan(3_000_000)
  })

  test("describes the first of them, says so, and says where the others are described", () => {
    expect(described).toHaveLength(limits.describedColumns / 20)
    expect(described[0]).toBe("/exports/csv#dataset=schema.table_with_a_long_name_0")
    expect(many.info["description"]).toContain(`Of the 1000 datasets, the first ${described.length} are described here`)
    expect(many.info["description"]).toContain("/datasets/{name}")
    expect(document.info["description"]).not.toContain("the first")
  })
})

test("a dataset whose rows are limited has a total that is at most its limit, in a query and in a body", () => {
  const limited = operationsOf(openApiDocument([{ ...usersDataset, maxRows: 500 }])).filter(({ path }) => path.includes("#"))
  expect(limited).toHaveLength(2)
  for (const { operation, parameters } of limited) {
    for (const name of ["total", "limit"]) {
      const described = parameters.filter((parameter) => parameter.name === name)
      expect(described.map(({ schema }) => schema["maximum"])).toEqual([500])
      const body = operation.requestBody?.content["application/json"]?.schema.properties?.[name]
      if (operation.requestBody) expect(body).toMatchObject({ maximum: 500 })
    }
  }
})

test("the state of a window is in each answer but those that are given before the request is read", () => {
  const { responses } = operationAt("/exports/csv").operation
  const required = Object.entries(responses)
    .filter(([, answer]) => "headers" in answer && answer.headers?.["RateLimit"]?.required)
    .map(([status]) => status)
  expect(required).toEqual(["200", "422", "429", "503", "504"])
})

test("the document has each endpoint of the API, and no other", () => {
  const served = servedEndpoints(api).map(({ endpoint: { method, path } }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`)
  const described = operations.filter(({ path }) => !path.includes("#")).map(({ method, path }) => `${method} ${path}`)
  expect(described.toSorted()).toEqual(served.toSorted())
})

test("each operation has a name of its own, and says what it does", () => {
  const names = operations.map(({ operation }) => operation.operationId)
  expect(names).toEqual([...new Set(names)])
  for (const { operation } of operations) expect(operation.summary).toMatch(/^[A-Z]/)
})

test("each problem type is described, and all but method-not-allowed belong to some operation", () => {
  const { oneOf } = document.components.schemas["ProblemType"] as unknown as { oneOf: ReadonlyArray<{ const: string }> }
  expect(oneOf.map((one) => one.const)).toEqual(problemTypes.map(problemUrn))
  const paths = JSON.stringify(document.paths)
  const unused = problemTypes.filter((type) => !paths.includes(JSON.stringify(problemUrn(type)))).map(({ type }) => type)
  expect(unused).toEqual(["method-not-allowed"])
})

test("the version is that of the package", async () => {
  expect(document.info["version"]).toBe(((await Bun.file(join(root, "package.json")).json()) as { version: string }).version)
})

test("the document of one dataset is not changed by that of another", () => {
  expect(Object.keys(openApiDocument([orders]).paths)).not.toContain("/exports/csv#dataset=users")
  expect(openApiDocument([usersDataset, orders, odd, alike])).toEqual(document)
})
