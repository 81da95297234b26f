import { Effect } from "effect"
import type { Column } from "../../datasets/column.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import { operatorsOf } from "../../datasets/filters/operators.ts"
import { DatasetRegistry } from "../../datasets/registry.ts"
import type { Handlers } from "../handler.ts"
import { NotFound } from "../failures.ts"
import type { Prefix } from "../request-env.ts"

const headers = { "Cache-Control": "no-cache" }

const summary = ({ name, kind, comment, estimatedRows, estimatedBytes }: Dataset, prefix: Prefix) => {
  const dataset = encodeURIComponent(name)
  const links = { self: `${prefix}/datasets/${dataset}`, stream: `${prefix}/exports/csv?dataset=${dataset}` }
  return { name, kind, comment, estimatedRows, estimatedBytes, links }
}

const columnDocument = (column: Column) => {
  const { name, type, nullable, comment, label, filterable } = column
  return { name, type, nullable, comment, label, operators: filterable ? operatorsOf(column) : [] }
}

/** What may be exported. */
export const datasetHandlers = Effect.gen(function* () {
  const datasets = yield* DatasetRegistry
  const handlers: Pick<Handlers, "listDatasets" | "getDataset"> = {
    listDatasets: ({ prefix }) =>
      Effect.map(datasets.all, (known) => ({
        document: { datasets: [...known.values()].map((dataset) => summary(dataset, prefix)) },
        headers
      })),

    getDataset: ({ params: { name }, prefix }) =>
      Effect.gen(function* () {
        const dataset = (yield* datasets.all).get(name)
        if (!dataset)
          return yield* new NotFound({ what: "dataset", detail: `There is no dataset ${JSON.stringify(name.slice(0, 60))}` })
        const { key, order, maxRows = null, parameters } = dataset
        const columns = [...dataset.columns.values()].map(columnDocument)
        const document = { ...summary(dataset, prefix), columns, key, order, maxRows, parameters: Object.keys(parameters) }
        return { document, headers }
      })
  }
  return handlers
})
