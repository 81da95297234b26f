import { Effect } from "effect"
import type { Context } from "hono"
import { hasOperator } from "../datasets/conditions.ts"
import { filterableOf, type Dataset } from "../datasets/dataset.ts"
import { someOf } from "../datasets/names.ts"
import { DEFAULT_DATASET } from "../datasets/users.ts"
import {
  declaredConditions,
  exportParameters,
  parameterNames,
  readFilters,
  toExportSpec,
  type ExportSpec,
  type Filter
} from "../exports/export-spec.ts"
import type { Datasets } from "../rows/datasets.ts"
import type { SourceBusy } from "../rows/connections.ts"
import type { SourceError } from "../rows/source-error.ts"
import { readJsonBody } from "./json-body.ts"
import { decode, invalid, MAX_ERRORS, queryPairs, unknownParameter, valuesOf, type Given, type Values } from "./parameters.ts"
import { InvalidRequest, type UnsupportedMediaType } from "./problem.ts"

type DatasetsService = typeof Datasets.Service
type Failure = InvalidRequest | UnsupportedMediaType | SourceError | SourceBusy

/** The dataset that a request is for. */
const datasetNamed = (
  name: string | undefined,
  datasets: ReadonlyMap<string, Dataset>
): Effect.Effect<Dataset, InvalidRequest> => {
  const dataset = datasets.get(name ?? DEFAULT_DATASET)
  return dataset
    ? Effect.succeed(dataset)
    : Effect.fail(invalid([{ field: "dataset", detail: noDataset(name, [...datasets.keys()]) }]))
}

const noDataset = (name: string | undefined, known: ReadonlyArray<string>) => {
  if (known.length === 0) return "cannot be had: nothing may be exported here"
  const list = `known are ${someOf(known, MAX_ERRORS)}`
  return name === undefined ? `is missing; ${list}` : `must be a dataset, not ${JSON.stringify(name.slice(0, 60))}; ${list}`
}

/** The spec of what was given, once the server has cast the filters' values, which `mayAsk` allows. */
const toSpec = <E>(
  { values, filters }: { readonly values: Values; readonly filters: ReadonlyArray<Filter> },
  dataset: Dataset,
  datasets: DatasetsService,
  mayAsk: Effect.Effect<void, E>
): Effect.Effect<ExportSpec, Failure | E> =>
  Effect.gen(function* () {
    const { conditions, errors } = readFilters(filters, dataset)
    const parameters = yield* decode(exportParameters(dataset))(values).pipe(
      Effect.mapError(({ errors: more = [] }) => invalid([...more, ...errors]))
    )
    if (errors.length > 0) return yield* invalid(errors)
    yield* mayAsk
    const failures = yield* datasets.castFailures([...declaredConditions(parameters, dataset), ...conditions])
    if (failures.length > 0) return yield* invalid(failures.map(({ of, detail }) => ({ field: of.field, detail })))
    return toExportSpec(
      parameters,
      dataset,
      conditions.map(({ condition }) => condition)
    )
  })

/**
 * A query's parameters and filters. A column of the dataset is a filter, repeated where each says its operator, as
 * PostgREST has it; one that is a declared parameter, too, is that where it is a bare value.
 */
const splitQuery = (pairs: ReadonlyArray<Given>, dataset: Dataset, more: ReadonlyArray<string>) => {
  const names = [...parameterNames(dataset), ...more]
  const columns = filterableOf(dataset)
  const isFilter = ({ field, text }: Given) =>
    columns.includes(field) && (names.includes(field) ? field in dataset.parameters && hasOperator(text) : true)
  const filters = pairs.filter(isFilter)
  const counts = new Map<string, number>()
  for (const { field } of pairs) counts.set(field, (counts.get(field) ?? 0) + 1)
  // One that says its operator may be one of several.
  const isRepeated = ({ field, text }: Given) => !hasOperator(text) && counts.get(field) !== 1
  const { values, errors } = valuesOf(
    pairs.filter((pair) => !isFilter(pair)),
    names,
    () => unknownParameter(names, columns)
  )
  const repeated = filters.filter(isRepeated).map(({ field }) => ({ field, detail: "is given more than once" }))
  return {
    values,
    filters: filters.map(({ field, text }) => ({ field, column: field, text })),
    errors: [...errors, ...repeated]
  }
}

/** The export that a query asks for, with the values of `more` parameters beside it. */
export const exportQuery = <E = never>(
  c: Context,
  datasets: DatasetsService,
  more: ReadonlyArray<string> = [],
  mayAsk: Effect.Effect<void, E> = Effect.void
) =>
  Effect.gen(function* () {
    const known = yield* datasets.all
    const pairs = yield* queryPairs(c)
    const dataset = yield* datasetNamed(pairs.find(({ field }) => field === "dataset")?.text, known)
    const { values, filters, errors } = splitQuery(pairs, dataset, more)
    if (errors.length > 0) return yield* invalid(errors)
    const own = Object.fromEntries(more.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]])))
    const others = Object.fromEntries(Object.entries(values).filter(([name]) => !more.includes(name)))
    return { spec: yield* toSpec({ values: others, filters }, dataset, datasets, mayAsk), own } as const
  })

/** The export that a POST asks for: in its query, or in a JSON body. */
export const exportRequest = <E = never>(
  c: Context,
  datasets: DatasetsService,
  mayAsk: Effect.Effect<void, E> = Effect.void
): Effect.Effect<ExportSpec, Failure | E> =>
  Effect.gen(function* () {
    const inQuery = new URL(c.req.url).search.length > 1
    const body = yield* readJsonBody(c)
    if (body === undefined) return (yield* exportQuery(c, datasets, [], mayAsk)).spec
    if (inQuery) return yield* new InvalidRequest({ detail: "Parameters are in the query and in the body; use one of them" })
    const { given, where, errors } = body
    const named = given.find(({ field }) => field === "dataset")?.text
    if (named === "") return yield* invalid(errors)
    const dataset = yield* datasetNamed(named, yield* datasets.all)
    const names = [...parameterNames(dataset), "where"]
    const columns = filterableOf(dataset)
    const { values, errors: more } = valuesOf(given, names, (field) =>
      columns.includes(field) ? `is a column: filter by it in where` : unknownParameter(names)
    )
    if (errors.length + more.length > 0) return yield* invalid([...more, ...errors])
    return yield* toSpec({ values, filters: where }, dataset, datasets, mayAsk)
  })
