import type { SourceSession } from "../source/session.ts"
import type { AllowedRelation } from "./allow-list.ts"
import { toDataset, type RelationRow } from "./catalog.ts"
import type { Dataset } from "./dataset.ts"
import { refine, type Definition, type Definitions } from "./definitions.ts"
import type { ColumnCondition } from "./filters/conditions.ts"
import { findCastFailures, readConditions } from "./filters/filter-values.ts"
import { users, usersDefinition } from "./users.ts"

/** Definitions that the service brings along. The file's own come on top of them. */
const BUILT_IN: Definitions = [[users, usersDefinition]]

/** What a definition makes of a dataset, and all in it that does not fit. */
interface Fitted {
  readonly dataset: Dataset
  readonly mistakes: ReadonlyArray<string>
}

/** Lists the values that a definition has, with their places in it. */
const declaredValues = ({
  columns,
  conditions,
  parameters
}: Dataset): ReadonlyArray<ColumnCondition & { readonly place: string }> => [
  ...conditions.map((condition) => ({ ...condition, place: `where.${condition.column.name}` })),
  ...Object.entries(parameters).flatMap(([name, { column: named, values = [] }]) => {
    const column = columns.get(named)
    const condition = { column: named, not: false, operator: "in" as const, values }
    return column ? [{ place: `parameters.${name}`, column, condition }] : []
  })
]

const definitionOf = ({ schema, table }: AllowedRelation, definitions: Definitions): Definition | undefined =>
  definitions.find(([relation]) => relation.schema === schema && relation.table === table)?.[1]

/** Applies a definition, and lets the server check its values. */
const fit = async (
  connection: SourceSession,
  dataset: Dataset,
  definition: Definition,
  reserved: ReadonlyArray<string>
): Promise<Fitted> => {
  const refined = refine(dataset, definition, reserved)
  const failures = await findCastFailures(connection, declaredValues(refined.dataset))
  return {
    dataset: refined.dataset,
    mistakes: [...refined.mistakes, ...failures.map(({ condition, detail }) => `${condition.place}: ${detail}`)]
  }
}

/** Applies the definition that is built in for a relation. One that does not fit is left out: the table is another one. */
const withBuiltIn = async (connection: SourceSession, dataset: Dataset): Promise<Dataset> => {
  const definition = definitionOf(dataset, BUILT_IN)
  if (!definition) return dataset
  const fitted = await fit(connection, dataset, definition, [])
  return fitted.mistakes.length === 0 ? fitted.dataset : dataset
}

/** The datasets that relations and definitions make. */
export interface FittedDatasets {
  readonly datasets: ReadonlyMap<string, Dataset>
  /** Relations that are excluded because another dataset has their name. */
  readonly nameConflicts: ReadonlyArray<string>
  /** All that is wrong with the definitions. A relation whose definition is wrong is excluded. */
  readonly mistakes: ReadonlyArray<string>
}

/** Makes datasets of relations. `reserved` are names that their parameters cannot have. */
export const fitDefinitions = async (
  connection: SourceSession,
  relations: ReadonlyArray<RelationRow>,
  definitions: Definitions,
  reserved: ReadonlyArray<string>
): Promise<FittedDatasets> => {
  const mistakes: Array<string> = []
  const nameConflicts: Array<string> = []
  const datasets = new Map<string, Dataset>()
  const defined = new Set<string>()
  const plain = relations.map(toDataset).filter((dataset) => dataset !== undefined)
  // Of two relations with one name, that of `public` has it, unless one of them is defined: that is a mistake.
  for (const relation of plain.toSorted((a, b) => Number(b.schema === "public") - Number(a.schema === "public"))) {
    const base = await withBuiltIn(connection, relation)
    const definition = definitionOf(relation, definitions)
    const fitted = definition ? await fit(connection, base, definition, reserved) : { dataset: base, mistakes: [] }
    const { name } = fitted.dataset
    if (definition) defined.add(name)
    const isTaken = datasets.has(name)
    const wrong = isTaken && defined.has(name) ? [`name: there is another dataset ${name}`] : []
    const all = [...fitted.mistakes, ...wrong].map((mistake) => `${relation.schema}.${relation.table}: ${mistake}`)
    mistakes.push(...all)
    if (all.length > 0) continue
    if (isTaken) nameConflicts.push(`${relation.schema}.${relation.table}`)
    else datasets.set(name, { ...fitted.dataset, conditions: await readConditions(connection, fitted.dataset.conditions) })
  }
  const missing = definitions.filter(([{ schema, table }]) => plain.every((one) => one.schema !== schema || one.table !== table))
  mistakes.push(
    ...missing.map(([{ schema, table }]) => `${schema}.${table}: does not exist, or EXPORT_DATASETS does not name it`)
  )
  const sorted = [...datasets].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { datasets: new Map(sorted), nameConflicts, mistakes }
}
