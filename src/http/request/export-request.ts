import { Effect, type Scope } from "effect"
import type { Context } from "hono"
import { filterableOf, type Dataset } from "../../datasets/dataset.ts"
import type { ColumnCondition } from "../../datasets/filters/conditions.ts"
import type { CastFailure } from "../../datasets/filters/filter-values.ts"
import { findFilterable, parseFieldName } from "../../datasets/filters/field-name.ts"
import { hasOperator, hasOperatorForm } from "../../datasets/filters/filter.ts"
import { groupNamed, parseFilterList } from "../../datasets/filters/filter-tree.ts"
import { someOf } from "../../datasets/names.ts"
import { DEFAULT_DATASET } from "../../datasets/users.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import { declaredConditions, exportParameters, parameterNames, toExportSpec } from "../../exports/parameters.ts"
import { joinMistakes, mistakeIn, readFilters, type Filter } from "../../exports/filters.ts"
import type { Datasets } from "../../datasets/registry.ts"
import type { SourceError } from "../../source/source-error.ts"
import { readJsonBody } from "./json-body.ts"
import { decode, invalid, MAX_ERRORS, queryPairs, unknownParameter, valuesOf, type Given, type Values } from "./query.ts"
import { InvalidRequest, type RateLimited, type Unavailable, type UnsupportedMediaType } from "../failures.ts"

/** What a request needs to know of the datasets. */
export interface RequestedDatasets extends Pick<typeof Datasets.Service, "all" | "exportSource"> {
  /** Returns the conditions with values that the source refuses. */
  readonly castFailures: <A extends ColumnCondition>(
    conditions: ReadonlyArray<A>
  ) => Effect.Effect<ReadonlyArray<CastFailure<A>>, SourceError | RateLimited>
}
type Failure = InvalidRequest | UnsupportedMediaType | Unavailable | RateLimited | SourceError

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
  if (known.length === 0) return "names nothing: no dataset may be exported here"
  const list = `known are ${someOf(known, MAX_ERRORS)}`
  return name === undefined ? `is missing; ${list}` : `must be a dataset, not ${JSON.stringify(name.slice(0, 60))}; ${list}`
}

/** The spec of what was given, once the server has cast the filters' values. */
const toSpec = (
  { values, filters }: { readonly values: Values; readonly filters: ReadonlyArray<Filter> },
  dataset: Dataset,
  datasets: RequestedDatasets
): Effect.Effect<ExportSpec, Failure> =>
  Effect.gen(function* () {
    const { conditions, leaves, errors } = readFilters(filters, dataset)
    const parameters = yield* decode(exportParameters(dataset))(values).pipe(
      Effect.mapError(({ errors: more = [] }) => invalid([...more, ...errors]))
    )
    if (errors.length > 0) return yield* invalid(errors)
    if (parameters.encoding === "raw" && datasets.exportSource === "cursor")
      return yield* invalid([{ field: "encoding", detail: "must be utf-8: this service cannot send raw bytes" }])
    const declared = declaredConditions(parameters, dataset).map((one) => ({ ...one, inGroup: undefined }))
    const failures = yield* datasets.castFailures([...declared, ...leaves])
    if (failures.length > 0) return yield* invalid(joinMistakes(failures.map(({ of, detail }) => mistakeIn(of, detail))))
    return toExportSpec(parameters, dataset, conditions)
  })

/** Explains PostgREST's parameters that have another name here or do not exist. */
const OTHERS: Readonly<Record<string, string>> = {
  select: "is not a parameter; columns says which columns an export has",
  order: "is not a parameter; order_by says how an export is sorted",
  offset:
    "is not a parameter; an export is all of one snapshot and has no pages: a filter by a key, such as id=gt.1000, leaves rows out"
}
const describeUnknown = (names: ReadonlyArray<string>, columns?: ReadonlyArray<string>) => (field: string) =>
  (Object.hasOwn(OTHERS, field) ? OTHERS[field] : undefined) ?? unknownParameter(names, columns)

/**
 * Splits a query into parameters and filters. The name of a column, a path in a column, and `or` and `and` with a list
 * are filters; as in PostgREST, a column may have several filters if each has an operator. A name that is both a column
 * and a declared parameter is the parameter when its value has no operator.
 */
const splitQuery = (pairs: ReadonlyArray<Given>, dataset: Dataset, more: ReadonlyArray<string>) => {
  const names = [...parameterNames(dataset), ...more]
  const isColumn = (field: string) => findFilterable(parseFieldName(field), dataset.columns) !== undefined
  const isGroup = ({ field, text }: Given) =>
    groupNamed(field) !== undefined && (/^\s*\(/.test(text) || !(names.includes(field) || isColumn(field)))
  const isFilter = (given: Given) => {
    const { field, text } = given
    if (isGroup(given)) return true
    return isColumn(field) && (names.includes(field) ? field in dataset.parameters && hasOperator(text) : true)
  }
  const counts = new Map<string, number>()
  for (const { field } of pairs) counts.set(field, (counts.get(field) ?? 0) + 1)
  const { values, errors } = valuesOf(
    pairs.filter((pair) => !isFilter(pair)),
    names,
    describeUnknown(names, filterableOf(dataset))
  )
  const filters: Array<Filter> = []
  const mistakes = [...errors]
  for (const pair of pairs.filter(isFilter)) {
    const { field, text } = pair
    const group = isGroup(pair) ? groupNamed(field) : undefined
    const list = group && parseFilterList(text)
    if (typeof list === "string") mistakes.push({ field, detail: list })
    else if (group && list) filters.push({ field, tree: { ...group, filters: list } })
    // A column may have several filters if each has an operator.
    else if (!hasOperatorForm(text) && counts.get(field) !== 1) mistakes.push({ field, detail: "is given more than once" })
    else filters.push({ field, tree: { on: parseFieldName(field), text } })
  }
  return { values, filters, errors: mistakes }
}

/** The export that a query asks for, with the values of `more` parameters beside it. */
export const exportQuery = (c: Context, datasets: RequestedDatasets, more: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    const known = yield* datasets.all
    const pairs = yield* queryPairs(c)
    const dataset = yield* datasetNamed(pairs.find(({ field }) => field === "dataset")?.text, known)
    const { values, filters, errors } = splitQuery(pairs, dataset, more)
    if (errors.length > 0) return yield* invalid(errors)
    const own = Object.fromEntries(more.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]])))
    const others = Object.fromEntries(Object.entries(values).filter(([name]) => !more.includes(name)))
    return { spec: yield* toSpec({ values: others, filters }, dataset, datasets), own } as const
  })

/** The export that a POST asks for: in its query, or in a JSON body. The scope is that of the work on it. */
export const exportRequest = (c: Context, datasets: RequestedDatasets): Effect.Effect<ExportSpec, Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const inQuery = new URL(c.req.url).search.length > 1
    const body = yield* readJsonBody(c)
    if (body === undefined) return (yield* exportQuery(c, datasets)).spec
    if (inQuery) return yield* new InvalidRequest({ detail: "Parameters are in the query and in the body; use one of them" })
    const { given, where, errors } = body
    const named = given.find(({ field }) => field === "dataset")?.text
    if (named === "") return yield* invalid(errors)
    const dataset = yield* datasetNamed(named, yield* datasets.all)
    const names = [...parameterNames(dataset), "where"]
    const columns = filterableOf(dataset)
    const { values, errors: more } = valuesOf(given, names, (field) => {
      if (columns.includes(field)) return "is a column: filter by it in `where`"
      return groupNamed(field) ? "belongs in `where`" : describeUnknown(names)(field)
    })
    if (errors.length + more.length > 0) return yield* invalid([...more, ...errors])
    return yield* toSpec({ values, filters: where }, dataset, datasets)
  })
