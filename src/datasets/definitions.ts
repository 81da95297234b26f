import { byName, type Column, type Columns } from "./column.ts"
import { ParseResult, Schema } from "effect"
import { parseAllowList, type AllowedRelation } from "./allow-list.ts"
import { show, type ColumnCondition } from "./filters/conditions.ts"
import type { Dataset } from "./dataset.ts"
import { parseFilter } from "./filters/filter.ts"
import { parseOrder } from "./column-list.ts"
import { operatorsOf } from "./filters/operators.ts"

const text = (description: string) => Schema.NonEmptyString.annotations({ description })
const columns = (description: string) => Schema.Array(Schema.NonEmptyString).annotations({ description })
/** Makes a member optional. It may not be undefined, which would double each message. */
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

const DeclaredParameter = Schema.Struct({
  column: text("The column whose value is compared."),
  operator: Schema.Literal("eq", "neq", "gt", "gte", "lt", "lte"),
  values: optional(columns("The values that are allowed.")),
  pattern: optional(text("A regular expression, as ECMAScript has them, that the whole value must match.")),
  allowed: optional(text("What an error says of it, such as: two capital letters, such as US."))
})

const Definition = Schema.Struct({
  name: optional(text("What the dataset is called; default: the table's name in the schema public, else schema.table.")),
  comment: optional(text("What GET /datasets says instead of the relation's comment.")),
  hidden: optional(columns("Columns that cannot be exported, filtered by or ordered by.")),
  labels: optional(
    Schema.Record({ key: Schema.String, value: Schema.NonEmptyString }).annotations({
      description: "What a header with labels calls a column."
    })
  ),
  filterable: optional(columns("Columns that may be filtered by; default: all that are not hidden.")),
  where: optional(
    Schema.Record({ key: Schema.String, value: Schema.Union(Schema.String, Schema.Array(Schema.String)) }).annotations({
      description: 'Filters of every export, also by hidden columns: {"deleted_at": "is.null"}.'
    })
  ),
  maxRows: optional(
    Schema.Int.pipe(Schema.between(1, 999_999_999_999_999)).annotations({ description: "The most rows that an export has." })
  ),
  orderBy: optional(text("The order of an export that names none: -created_at,id.")),
  parameters: optional(
    Schema.Record({ key: Schema.String, value: DeclaredParameter }).annotations({
      description: "Parameters that set a condition."
    })
  )
})
export type Definition = typeof Definition.Type
/** Definitions, with their relations. */
export type Definitions = ReadonlyArray<readonly [AllowedRelation, Definition]>

/** The file that `DATASETS_FILE` names: definitions by relation. Relations are named as in EXPORT_DATASETS. */
export const DatasetsFile = Schema.Struct({
  $schema: optional(Schema.String),
  datasets: Schema.Record({ key: Schema.String, value: Definition })
})

/**
 * Lists the places of names and texts that are not valid Unicode, which JSON's escapes can produce. Such a text cannot be
 * sent to a database or to a client.
 */
const malformedTexts = (value: unknown, place = ""): ReadonlyArray<string> => {
  if (typeof value === "string") return value.isWellFormed() ? [] : [place]
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => {
    const inner = `${place === "" ? "" : `${place}.`}${name.toWellFormed()}`
    return name.isWellFormed() ? malformedTexts(member, inner) : [inner]
  })
}

const failed = (mistakes: ReadonlyArray<string>) => ({ definitions: [], mistakes })

/** Reads the definitions of a file, or all that is wrong with it. */
export const readDefinitions = (
  content: string
): { readonly definitions: Definitions; readonly mistakes: ReadonlyArray<string> } => {
  let json: unknown
  try {
    json = JSON.parse(content)
  } catch (cause) {
    return failed([`the file is not JSON: ${(cause as Error).message}`])
  }
  const read = Schema.decodeUnknownEither(DatasetsFile, { errors: "all", onExcessProperty: "error" })(json)
  if (read._tag === "Left") {
    const issues = ParseResult.ArrayFormatter.formatErrorSync(read.left)
    return failed(issues.map(({ path, message }) => `${path.join(".")}: ${message}`))
  }
  const malformed = malformedTexts(read.right)
  if (malformed.length > 0)
    return failed(malformed.map((place) => `${place}: contains an unpaired surrogate, which is not valid Unicode`))
  const definitions: Array<readonly [AllowedRelation, Definition]> = []
  const mistakes: Array<string> = []
  for (const [relation, definition] of Object.entries(read.right.datasets)) {
    const [one, ...more] = parseAllowList(relation) ?? []
    if (one?.table === undefined || more.length > 0)
      mistakes.push(`datasets.${relation}: is not a relation such as public.orders or sales."Odd Name"`)
    else if (definitions.some(([{ schema, table }]) => schema === one.schema && table === one.table))
      mistakes.push(`datasets.${relation}: is given twice`)
    else definitions.push([one, definition])
  }
  return { definitions, mistakes }
}

/**
 * Applies a definition to a dataset. If the definition has mistakes, the dataset must not be used. `reserved` are names
 * that parameters cannot have.
 */
export const refine = (
  dataset: Dataset,
  definition: Definition,
  reserved: ReadonlyArray<string>
): { readonly dataset: Dataset; readonly mistakes: ReadonlyArray<string> } => {
  const mistakes: Array<string> = []
  const { hidden = [], labels = {}, filterable, where = {}, parameters = {}, maxRows, orderBy } = definition
  const columnNamed = (name: string, place: string, from: Columns = dataset.columns): Column | undefined => {
    const found = from.get(name)
    if (!found) {
      const known = [...from.keys()].join(", ")
      mistakes.push(`${place}: there is no column ${show(name)}; known are ${known}`)
    }
    return found
  }
  for (const [place, names] of Object.entries({ hidden, labels: Object.keys(labels), filterable: filterable ?? [] }))
    for (const name of names) columnNamed(name, place)

  const visible = byName(
    [...dataset.columns.values()]
      .filter(({ name }) => !hidden.includes(name))
      .map((column) => ({
        ...column,
        label: (Object.hasOwn(labels, column.name) ? labels[column.name] : undefined) ?? column.label,
        filterable: filterable?.includes(column.name) ?? column.filterable
      }))
  )
  if (visible.size === 0) mistakes.push("hidden: leaves no column")

  const conditions = Object.entries(where).flatMap(([name, filters]) => {
    const column = columnNamed(name, "where")
    return [filters].flat().flatMap((filter): ReadonlyArray<ColumnCondition> => {
      const condition = column && parseFilter(filter, column)
      if (typeof condition === "string") mistakes.push(`where.${name}: ${condition}`)
      return column && typeof condition === "object" ? [{ condition, column }] : []
    })
  })
  const order = orderBy === undefined ? [] : parseOrder(orderBy, visible)
  if (typeof order === "string") mistakes.push(`orderBy: ${order}`)
  for (const [name, parameter] of Object.entries(parameters)) {
    const column = columnNamed(parameter.column, `parameters.${name}`, visible)
    if (column && !operatorsOf(column).includes(parameter.operator))
      mistakes.push(`parameters.${name}: ${parameter.column} is of type ${column.type}, which cannot be compared`)
    if (reserved.includes(name)) mistakes.push(`parameters.${name}: every dataset has a parameter of that name`)
    if (parameter.pattern !== undefined && !isPattern(parameter.pattern))
      mistakes.push(`parameters.${name}: ${show(parameter.pattern)} is not a regular expression`)
  }
  return {
    mistakes,
    dataset: {
      ...dataset,
      name: definition.name ?? dataset.name,
      comment: definition.comment ?? dataset.comment,
      columns: visible,
      key: dataset.key.some((name) => hidden.includes(name)) ? [] : dataset.key,
      conditions,
      // Table statistics would reveal the number of hidden rows.
      ...(conditions.length > 0 && { estimatedRows: null, estimatedBytes: null }),
      order: typeof order === "string" ? [] : order,
      maxRows,
      // Parameters of an earlier definition are filters, too; this definition may hide their columns or not filter by them.
      parameters: Object.fromEntries([
        ...Object.entries(dataset.parameters).filter(([, { column }]) => visible.get(column)?.filterable),
        ...Object.entries(parameters)
      ])
    }
  }
}

const isPattern = (pattern: string): boolean => {
  try {
    return new RegExp(pattern, "u") instanceof RegExp
  } catch {
    return false
  }
}
