/** The routes of the service with the parameters of each, from the description of the API. */
import { api } from "../../src/http/api.ts"
import { servedEndpoints } from "../../src/http/endpoints/endpoint.ts"
import { openApiDocument } from "../../src/http/openapi/document.ts"
import { prefixes } from "../../src/http/request-env.ts"
import { usersDataset } from "./datasets.ts"
import { operationsOf } from "./described.ts"
import { inQuery } from "./described-requests.ts"

/** The values for the names in a path. */
export type PathValues = Readonly<Record<"id" | "name" | "file", string>>

/** Each path, under each prefix, with the methods that it takes. */
export const routesWith = (values: PathValues): Readonly<Record<string, ReadonlyArray<string>>> =>
  Object.fromEntries(
    [...Map.groupBy(servedEndpoints(api), ({ endpoint }) => endpoint.path)].flatMap(([path, served]) => {
      const methods = served.flatMap(({ endpoint: { method } }) => (method === "GET" ? ["GET", "HEAD"] : [method]))
      const target = path.replaceAll(/:(\w+)/g, (_, name: string) => values[name as keyof PathValues])
      const under = served.some(({ details }) => details.atRoot) ? [""] : prefixes
      return under.map((prefix) => [prefix + target, methods])
    })
  )

const operations = operationsOf(openApiDocument([usersDataset]))

/** The methods and paths without a prefix, with the names of the parameters of each; of an export, those of the demo table. */
export const operationParameters = operations
  .filter(({ path }) => !path.includes("#"))
  .map((one) => {
    const ofUsers = operations.find(({ path, method }) => path === "/exports/csv#dataset=users" && method === one.method)
    const isExport = inQuery(one).some(({ name }) => name === "filters")
    const given = isExport && ofUsers ? ofUsers : one
    const names = inQuery(given)
      // Filters are lists, or may come several times.
      .filter(({ name, schema }) => schema["type"] !== "array" && !/^(not\.)?(and|or)$/.test(name))
      .map(({ name }) => name)
    return { method: one.method, path: one.path, names, isExport }
  })
