import { Effect, Either, Option, Schema } from "effect"
import { filterableOf, type Dataset } from "../../datasets/dataset.ts"
import { show, someOf, type ColumnCondition } from "../../datasets/filters/conditions.ts"
import type { CastFailure } from "../../datasets/filters/filter-values.ts"
import { groupNamed } from "../../datasets/filters/filter-tree.ts"
import type { DatasetRegistry } from "../../datasets/registry.ts"
import { DEFAULT_DATASET } from "../../datasets/users.ts"
import { joinMistakes, mistakeIn, readFilters, type Filter } from "../../exports/filters.ts"
import {
  conflictsIn,
  declaredConditions,
  exportParameters,
  formatOf,
  parameterNames,
  toExportSpec
} from "../../exports/parameters.ts"
import type { SourceError } from "../../source/source-error.ts"
import type { FieldProblem } from "../endpoints/documents.ts"
import { InvalidRequest, type RateLimited } from "../failures.ts"
import type { ApiRequest } from "../handler.ts"
import { readJsonBody } from "./json-body.ts"
import { filtersOf } from "./json-where.ts"
import { splitQuery } from "./query-filters.ts"
import {
  decodeValues,
  invalid,
  MOST_LISTED,
  readQuery,
  unknownParameter,
  valuesOf,
  type RawParameter,
  type Read
} from "./query.ts"

/** What a request needs to know of the datasets. */
export interface RequestedDatasets extends Pick<typeof DatasetRegistry.Service, "all" | "exportSource"> {
  /** Returns the conditions with values that the source refuses. */
  readonly castFailures: <A extends ColumnCondition>(
    conditions: ReadonlyArray<A>
  ) => Effect.Effect<ReadonlyArray<CastFailure<A>>, SourceError | RateLimited>
}

/** A request for an export, from a query or a body alike. */
interface ExportRequest {
  readonly dataset: Dataset
  readonly values: Readonly<Record<string, unknown>>
  readonly filters: ReadonlyArray<Filter>
  /** What is wrong with the request so far. */
  readonly errors: ReadonlyArray<FieldProblem>
}

/** Finds the dataset that a request is for. */
const findDataset = (
  { values, errors }: Read<ReadonlyArray<RawParameter>>,
  datasets: ReadonlyMap<string, Dataset>
): Either.Either<Dataset, InvalidRequest> => {
  const named = values.find(({ field }) => field === "dataset")
  const name = named === undefined ? DEFAULT_DATASET : named.value
  const dataset = typeof name === "string" ? datasets.get(name) : undefined
  if (errors.some(({ field }) => field === "dataset")) return Either.left(invalid(errors))
  return dataset
    ? Either.right(dataset)
    : Either.left(invalid([...errors, { field: "dataset", detail: noDataset(named?.value, [...datasets.keys()]) }]))
}

const noDataset = (name: unknown, known: ReadonlyArray<string>) => {
  if (known.length === 0) return "cannot be chosen: no datasets are configured (EXPORT_DATASETS)"
  const allowed = `must be one of ${someOf(known, MOST_LISTED)}`
  return name === undefined ? `is missing; it ${allowed}` : `${allowed}, not ${show(name)}`
}

/** Decodes a request, and lets the source check the values of its filters. All mistakes are reported at once. */
const toSpec = Effect.fnUntraced(function* (
  { dataset, values, filters, errors }: ExportRequest,
  { castFailures, exportSource }: RequestedDatasets
) {
  const decoded = decodeValues(exportParameters(dataset), values)
  const { conditions, leaves, errors: mistakes } = readFilters(filters, dataset)
  if (Either.isLeft(decoded)) return yield* invalid([...errors, ...decoded.left, ...mistakes])
  const parameters = decoded.right
  const format = formatOf(parameters)
  // A value that is missing because it is wrong must not seem to conflict with others.
  const conflicts = errors.length > 0 ? [] : conflictsIn(parameters, format, dataset)
  const problems = [...errors, ...conflicts, ...mistakes]
  if (problems.length > 0) return yield* invalid(problems)
  if (parameters.encoding === "raw" && exportSource === "cursor")
    return yield* invalid([{ field: "encoding", detail: "must be utf-8: this service cannot send raw bytes" }])
  const declared = declaredConditions(parameters, dataset)
  const failures = yield* castFailures([...declared, ...leaves])
  if (failures.length > 0)
    return yield* invalid(joinMistakes(failures.map(({ condition, detail }) => mistakeIn(condition, detail))))
  return toExportSpec(parameters, dataset, [...declared.map(({ condition }) => condition), ...conditions], format)
})

/** Explains PostgREST's parameters that have another name here or do not exist. */
const POSTGREST: Readonly<Record<string, string>> = {
  select: "is not a parameter; columns says which columns an export has",
  order: "is not a parameter; order_by says how an export is sorted",
  offset:
    "is not a parameter; an export is all of one snapshot and has no pages: a filter by a key, such as id=gt.1000, leaves rows out"
}
const describeUnknown = (names: ReadonlyArray<string>, dataset?: Dataset) => (field: string) =>
  Object.hasOwn(POSTGREST, field) ? POSTGREST[field]! : unknownParameter(names, dataset && filterableOf(dataset))

/** Reads the export that a query asks for, and the parameters in it that belong to the route. */
export const exportQuery = Effect.fn("exportQuery")(function* <A, I>(
  { url }: Pick<ApiRequest, "url">,
  datasets: RequestedDatasets,
  routeParameters: Schema.Schema<A, I> & { readonly fields: object }
) {
  const known = yield* datasets.all
  const query = readQuery(url)
  const dataset = yield* findDataset(query, known)
  const ofRoute = Object.keys(routeParameters.fields)
  const names = [...parameterNames(dataset), ...ofRoute]
  const { parameters, filters } = splitQuery(query.values, dataset, names)
  const { values, errors } = valuesOf(parameters, names, describeUnknown(names, dataset))
  const { spec = [], route = [] } = Object.groupBy(Object.entries(values), ([name]) =>
    ofRoute.includes(name) ? "route" : "spec"
  )
  const decoded = decodeValues(routeParameters, Object.fromEntries(route))
  const problems = [...query.errors, ...errors, ...filters.errors, ...Option.getOrElse(Either.getLeft(decoded), () => [])]
  const request = { dataset, values: Object.fromEntries(spec), filters: filters.values, errors: problems }
  return { spec: yield* toSpec(request, datasets), parameters: Either.getOrThrow(decoded) }
})

/** Reads the export that a POST asks for, in its query or in a JSON body. The scope is that of the work on it. */
export const exportRequest = Effect.fn("exportRequest")(function* (request: ApiRequest, datasets: RequestedDatasets) {
  const inQuery = request.url.search.length > 1
  const body = yield* readJsonBody(request)
  if (body === undefined) return (yield* exportQuery(request, datasets, Schema.Struct({}))).spec
  if (inQuery) return yield* new InvalidRequest({ detail: "Parameters are in the query and in the body; use one of them" })
  const { parameters, where } = body.values
  const dataset = yield* findDataset({ values: parameters, errors: body.errors }, yield* datasets.all)
  const names = parameterNames(dataset)
  const columns = filterableOf(dataset)
  const unknown = describeUnknown([...names, "where"])
  const { values, errors } = valuesOf(parameters, names, (field) => {
    if (columns.includes(field)) return "is a column: filter by it in `where`"
    return groupNamed(field) ? "belongs in `where`" : unknown(field)
  })
  const filters = filtersOf(where)
  const problems = [...body.errors, ...errors, ...filters.errors]
  return yield* toSpec({ dataset, values, filters: filters.values, errors: problems }, datasets)
})
