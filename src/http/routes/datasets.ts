import { type Column } from "../../datasets/column.ts"
import { Effect } from "effect"
import type { Context } from "hono"
import type { Dataset } from "../../datasets/dataset.ts"
import { operatorsOf } from "../../datasets/filters/operators.ts"
import { Datasets } from "../../datasets/registry.ts"
import { basePath, prefixOf } from "./exports.ts"
import { queryValues } from "../request/query.ts"
import { NotFound } from "../failures.ts"

const HEADERS = { "Cache-Control": "no-cache" }

const summary = ({ name, kind, comment, estimatedRows, estimatedBytes }: Dataset, c: Context) => {
  const dataset = encodeURIComponent(name)
  const links = { self: `${prefixOf(c)}/datasets/${dataset}`, stream: `${basePath(c)}/csv?dataset=${dataset}` }
  return { name, kind, comment, estimatedRows, estimatedBytes, links }
}

const described = (column: Column) => {
  const { name, type, nullable, comment, label, filterable } = column
  return { name, type, nullable, comment, label, operators: filterable ? operatorsOf(column) : [] }
}

/** What may be exported. */
export class DatasetRoutes extends Effect.Service<DatasetRoutes>()("DatasetRoutes", {
  effect: Effect.gen(function* () {
    const datasets = yield* Datasets

    const list = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const known = yield* datasets.all
        return Response.json({ datasets: [...known.values()].map((dataset) => summary(dataset, c)) }, { headers: HEADERS })
      })

    const one = (c: Context) =>
      Effect.gen(function* () {
        yield* queryValues(c, [])
        const name = c.req.param("name") ?? ""
        const dataset = (yield* datasets.all).get(name)
        if (!dataset)
          return yield* new NotFound({ what: "dataset", detail: `There is no dataset ${JSON.stringify(name.slice(0, 60))}` })
        const { key, order, maxRows = null, parameters } = dataset
        return Response.json(
          {
            ...summary(dataset, c),
            columns: [...dataset.columns.values()].map(described),
            key,
            order,
            maxRows,
            parameters: Object.keys(parameters)
          },
          { headers: HEADERS }
        )
      })

    return { list, one } as const
  })
}) {}
