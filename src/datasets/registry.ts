import { type ColumnCondition } from "./filters/conditions.ts"
import { readFile } from "node:fs/promises"
import { Data, Effect, Queue, Redacted } from "effect"
import { limits } from "../limits.ts"
import { AppConfig, Databases } from "../config.ts"
import type { AllowedRelation } from "./allow-list.ts"
import type { Dataset } from "./dataset.ts"
import { users } from "./users.ts"
import { readDefinitions, refine, type Definition } from "./definitions.ts"
import { reservedParameters } from "../exports/parameters.ts"
import { findCastFailures, needsCast, readConditions } from "./filters/filter-values.ts"
import { datasetsStatement, toDataset, type RelationRow } from "./catalog.ts"
import { SourceOutage } from "../source/outage.ts"
import { openSession, type SourceSession } from "../source/session.ts"
import { SourceError, toSourceError } from "../source/source-error.ts"

/** The file that `DATASETS_FILE` names is wrong, or does not fit the database. */
class DatasetsFileError extends Data.TaggedError("DatasetsFileError")<{ readonly message: string }> {}

type Definitions = ReadonlyArray<readonly [AllowedRelation, Definition]>

/** Logs why the datasets could not be read; an outage has log lines of its own. */
const unread = ({ logged, outage }: SourceError) =>
  outage ? Effect.void : Effect.logWarning(`cannot read which datasets may be exported: ${logged}`)

/** The values that a definition has, and where. */
const declaredValues = ({
  columns,
  conditions,
  parameters
}: Dataset): ReadonlyArray<ColumnCondition & { readonly place: string }> => [
  ...conditions.map((one) => ({ ...one, place: `where.${one.column.name}` })),
  ...Object.entries(parameters).flatMap(([name, { column, values = [] }]) => {
    const on = columns.get(column)
    return on
      ? [{ place: `parameters.${name}`, column: on, condition: { column, not: false, operator: "in" as const, values } }]
      : []
  })
]

/**
 * Datasets by name, those that are left out since another has their name, and all that does not fit in definitions: what
 * has such is left out, too.
 */
const refineAll = async (connection: SourceSession, relations: ReadonlyArray<RelationRow>, definitions: Definitions) => {
  const mistakes: Array<string> = []
  const namesakes: Array<string> = []
  const known = new Map<string, Dataset>()
  const plain = relations.map(toDataset).filter((dataset) => dataset !== undefined)
  const defined = new Set<string>()
  // Of two of one name `public` has it, unless one of them is defined: that is a mistake.
  for (const dataset of plain.toSorted((a, b) => Number(b.schema === "public") - Number(a.schema === "public"))) {
    const [, definition] = definitions.find(([{ schema, table }]) => schema === dataset.schema && table === dataset.table) ?? []
    const refined = definition ? refine(dataset, definition, reservedParameters) : { dataset, mistakes: [] }
    const { name } = refined.dataset
    if (definition) defined.add(name)
    const casts = await findCastFailures(connection, declaredValues(refined.dataset))
    const wrong = [
      ...refined.mistakes,
      ...casts.map(({ of, detail }) => `${of.place}: ${detail}`),
      ...(known.has(name) && defined.has(name) ? [`name: there is another dataset ${name}`] : [])
    ]
    mistakes.push(...wrong.map((mistake) => `${dataset.schema}.${dataset.table}: ${mistake}`))
    if (wrong.length > 0) continue
    if (known.has(name)) {
      namesakes.push(`${dataset.schema}.${dataset.table}`)
      continue
    }
    const conditions = await readConditions(connection, refined.dataset.conditions)
    known.set(name, { ...refined.dataset, conditions })
  }
  const missing = definitions.filter(([{ schema, table }]) => plain.every((one) => one.schema !== schema || one.table !== table))
  mistakes.push(...missing.map(([{ schema, table }]) => `${schema}.${table}: is not there, or EXPORT_DATASETS does not name it`))
  const sorted = [...known].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { known: new Map(sorted), namesakes, mistakes }
}

/**
 * What may be exported, as the source database has it: read at start, every `datasetsRefreshMs`, and on SIGHUP. When it
 * cannot be read, what was known stays. What `DATASETS_FILE` says must fit at start; later, what does not fit any more
 * cannot be exported.
 */
export class Datasets extends Effect.Service<Datasets>()("Datasets", {
  scoped: Effect.gen(function* () {
    const { datasetsFile, exportSource, hasDemo, ...config } = yield* AppConfig
    const exportDatasets = config.exportDatasets ?? (hasDemo ? [users] : [])
    const url = Redacted.value((yield* Databases).source)
    const outage = yield* SourceOutage
    let known: ReadonlyMap<string, Dataset> | undefined
    /** What is named, and cannot be exported. */
    let leftOut: ReadonlyArray<string> = []
    let told: string | undefined

    const wrongFile = (mistakes: ReadonlyArray<string>) =>
      new DatasetsFileError({ message: `DATASETS_FILE=${JSON.stringify(datasetsFile)} is wrong: ${mistakes.join("; ")}` })

    const readFileAnew = Effect.gen(function* () {
      if (datasetsFile === undefined) return []
      const content = yield* Effect.tryPromise({
        try: () => readFile(datasetsFile, "utf8"),
        catch: (cause) => wrongFile([(cause as Error).message])
      })
      const { definitions, mistakes } = readDefinitions(content)
      return mistakes.length > 0 ? yield* wrongFile(mistakes) : definitions
    })

    const read = Effect.gen(function* () {
      const definitions = yield* readFileAnew
      const connection = yield* outage.watch(openSession(url))
      const { mistakes, ...found } = yield* Effect.tryPromise({
        try: async () => {
          const relations = await connection.query<RelationRow>(datasetsStatement(exportDatasets), limits.catalogBytes)
          const { namesakes, ...refined } = await refineAll(connection, relations, definitions)
          const missing = exportDatasets.filter(({ schema, table }) =>
            relations.every((one) => one.schema !== schema || (table !== undefined && one.table !== table))
          )
          const bare = relations.filter(({ columns }) => !columns)
          return {
            ...refined,
            leftOut: [
              ...missing.map(({ schema, table = "*" }) => `${schema}.${table} is not there, or this role may not read it`),
              ...bare.map(({ schema, table }) => `${schema}.${table} has no columns that this role may read`),
              ...namesakes.map((name) => `${name} has the name of another dataset; give it another one in DATASETS_FILE`)
            ]
          }
        },
        catch: toSourceError
      })
      known = found.known
      leftOut = found.leftOut
      if (mistakes.length > 0) return yield* wrongFile(mistakes)
    }).pipe(Effect.scoped)

    /** Once for each change of what may be exported. */
    const tell = Effect.gen(function* () {
      const names = [...(known?.keys() ?? [])].join(", ")
      const now = [names, ...leftOut].join("\n")
      if (told === now) return
      told = now
      if (exportDatasets.length === 0)
        yield* Effect.logWarning("nothing may be exported: EXPORT_DATASETS names what may, such as public.orders,reporting.*")
      else if (names === "") yield* Effect.logWarning("nothing may be exported")
      else yield* Effect.logInfo(`may be exported: ${names}`)
      yield* Effect.forEach(leftOut, (one) => Effect.logWarning(`cannot be exported: ${one}`))
    })

    const hangups = yield* Queue.sliding<void>(1)
    const hangup = () => void hangups.unsafeOffer(undefined)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("SIGHUP", hangup)),
      () => Effect.sync(() => process.off("SIGHUP", hangup))
    )
    yield* read.pipe(Effect.zipRight(tell), Effect.catchTag("SourceError", unread))
    const refresh = read.pipe(
      Effect.catchTags({ SourceError: unread, DatasetsFileError: ({ message }) => Effect.logError(message) }),
      Effect.zipRight(Effect.suspend(() => (known ? tell : Effect.void)))
    )
    yield* Effect.suspend(() =>
      Effect.timeoutOption(Queue.take(hangups), known ? limits.datasetsRefreshMs : limits.datasetsRetryMs)
    ).pipe(Effect.zipRight(refresh), Effect.forever, Effect.forkScoped)

    /** What may be exported, by name. Fails until the source database has answered once. */
    const all: Effect.Effect<ReadonlyMap<string, Dataset>, SourceError> = Effect.suspend(() => {
      if (known) return Effect.succeed(known)
      const message = "Cannot tell what may be exported: the source database did not answer yet"
      return Effect.fail(new SourceError({ message, retryable: true, outage: true }))
    })

    /** The dataset of an export that was asked for earlier. */
    const find = (name: string): Effect.Effect<Dataset, SourceError> =>
      Effect.flatMap(all, (datasets) => {
        const dataset = datasets.get(name)
        if (dataset) return Effect.succeed(dataset)
        const message = `Cannot export ${name}: there is no such dataset any more`
        return Effect.fail(new SourceError({ message, retryable: false }))
      })

    const asking = yield* Effect.makeSemaphore(limits.castConnections)
    /** The filters whose values the server does not take for their columns, asked within `streamAdmissionMs`. */
    const castFailures = <A extends ColumnCondition>(conditions: ReadonlyArray<A>) =>
      conditions.some(needsCast)
        ? asking
            .withPermits(1)(
              Effect.scoped(
                Effect.flatMap(outage.watch(openSession(url)), (connection) =>
                  Effect.tryPromise({ try: () => findCastFailures(connection, conditions), catch: toSourceError })
                )
              )
            )
            .pipe(
              Effect.timeoutFail({
                duration: limits.streamAdmissionMs,
                onTimeout: () =>
                  new SourceError({ message: "Cannot check the filters: the source database is slow", retryable: true })
              })
            )
        : Effect.succeed([])

    return { all, find, castFailures, exportSource } as const
  })
}) {}
