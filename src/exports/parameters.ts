import { Schema } from "effect"
import type { Dataset } from "../datasets/dataset.ts"
import { canonicalConditions, type ColumnCondition, type ConditionTree } from "../datasets/filters/conditions.ts"
import { limits } from "../limits.ts"
import { dialectConflict } from "../formats/csv/dialect.ts"
import { markText } from "../formats/csv/spreadsheet-text.ts"
import { defaultFormat, formatConflict, profiles, type CsvFormat } from "../formats/csv/csv-format.ts"
import type { ExportSpec } from "./export-spec.ts"
import type { Mistake, RequestCondition } from "./filters.ts"
import { commonFields, declaredFields } from "./parameter-fields.ts"

const commonParameters: ReadonlyArray<string> = Object.keys(commonFields({ columns: new Map() }))
/** Names that a request gives another meaning, so that no dataset can. */
export const reservedParameters: ReadonlyArray<string> = [...commonParameters, "where", "apiKey", "errorRow"]

/** What a dataset may be asked, beside filters. */
export const parameterNames = ({ parameters }: Dataset): ReadonlyArray<string> => [
  ...Object.keys(parameters),
  ...commonParameters
]

const makeParameters = (dataset: Dataset) => Schema.Struct({ ...declaredFields(dataset), ...commonFields(dataset) })
type Parameters = Schema.Schema.Type<ReturnType<typeof makeParameters>>

const made = new Map<Dataset, ReturnType<typeof makeParameters>>()

/**
 * Returns the parameters of an export of a dataset. Those of the datasets that were asked for last are kept: to make them,
 * with the decoder that Effect derives from them, costs a request more than all else, and much garbage.
 */
export const exportParameters = (dataset: Dataset) => {
  const parameters = made.get(dataset) ?? makeParameters(dataset)
  made.delete(dataset)
  made.set(dataset, parameters)
  for (const oldest of made.keys()) {
    if (made.size <= limits.parameterSchemas) break
    made.delete(oldest)
  }
  return parameters
}

/** Finds the parameters that do not go together. `format` is what they make. */
export const conflictsIn = (parameters: Parameters, format: CsvFormat, dataset: Dataset): ReadonlyArray<Mistake> => {
  const { total, limit, header, encoding, profile, columns = [] } = parameters
  const dialect = dialectConflict(format)
  const conflicts = [
    dialect && { field: dialect.field === "quote" ? "quoteChar" : dialect.field, detail: dialect.detail },
    formatConflict(format),
    encoding !== undefined && profile !== undefined && profile !== "postgres"
      ? { field: "encoding", detail: "is for profile=postgres alone, where it is utf-8 or raw" }
      : undefined,
    total !== undefined && limit !== undefined
      ? { field: "limit", detail: "is an alias of total; give only one of them" }
      : undefined,
    (total ?? limit ?? 0) > (dataset.maxRows ?? Number.POSITIVE_INFINITY)
      ? { field: total === undefined ? "limit" : "total", detail: `must be at most ${dataset.maxRows}` }
      : undefined,
    header !== undefined && header !== "labels" && columns.some(({ label }) => label !== undefined)
      ? { field: "header", detail: "must be labels where columns have some" }
      : undefined
  ]
  return conflicts.filter((conflict) => conflict !== undefined)
}

/** Returns the format that parameters ask for. */
export const formatOf = (parameters: Parameters): CsvFormat => {
  const { profile, quoteChar, quote, delimiter, newline, bom, header, columns = [] } = parameters
  const base = profile === undefined ? defaultFormat : profiles[profile]
  const labels = columns.some(({ label }) => label !== undefined)
  const marks = { formulas: parameters.formulas ?? base.formulas, longNumbers: base.longNumbers }
  return {
    kind: base.kind,
    type: base.type,
    encoding: parameters.encoding ?? base.encoding,
    bom: bom ?? base.bom,
    header: header ?? (labels ? "labels" : base.header),
    delimiter: delimiter ?? base.delimiter,
    quote: quoteChar ?? base.quote,
    quoting: quote ?? base.quoting,
    null: markText(parameters.null ?? base.null, marks),
    newline: newline ?? base.newline,
    ...marks,
    timezone: parameters.timezone ?? base.timezone,
    datetime: parameters.datetime ?? base.datetime,
    boolean: parameters.boolean ?? base.boolean,
    binary: parameters.binary ?? base.binary,
    decimal: parameters.decimal ?? base.decimal
  }
}

/** The conditions that the dataset's own parameters set, with the names of these. */
export const declaredConditions = (parameters: Parameters, dataset: Dataset) =>
  Object.keys(dataset.parameters)
    .filter((field) => Object.hasOwn(parameters, field))
    .map((field): RequestCondition => ({
      ...(parameters as Readonly<Record<string, ColumnCondition>>)[field]!,
      field,
      inGroup: undefined
    }))

/** Makes the spec of a request. `conditions` are all of them, those of declared parameters included. */
export const toExportSpec = (
  parameters: Parameters,
  dataset: Dataset,
  conditions: ReadonlyArray<ConditionTree> = [],
  format = formatOf(parameters)
): ExportSpec => {
  const { total, limit, order_by } = parameters
  const columns = parameters.columns ?? [...dataset.columns.values()].map((column) => ({ column, label: undefined }))
  const rows = total ?? limit
  return {
    dataset: dataset.name,
    columns: columns.map(({ column, label }) => ({
      name: column.name,
      type: dataset.columns.get(column.name)!.type,
      ...(column.path && { path: column.path }),
      ...(format.header === "labels" && { label: label ?? column.label })
    })),
    conditions: canonicalConditions(conditions),
    order: [...(order_by ?? dataset.order)],
    ...(rows !== undefined && { total: rows }),
    format
  }
}
