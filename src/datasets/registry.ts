import { readFile } from "node:fs/promises"
import { Data, Effect, Queue, Redacted, Ref } from "effect"
import { AppConfig, Databases } from "../config.ts"
import { limits } from "../limits.ts"
import { SourceOutage } from "../source/outage.ts"
import { openSession } from "../source/session.ts"
import { SourceError, toSourceError } from "../source/source-error.ts"
import { datasetsStatement, type RelationRow } from "./catalog.ts"
import type { Dataset } from "./dataset.ts"
import { readDefinitions } from "./definitions.ts"
import type { ColumnCondition } from "./filters/conditions.ts"
import { findCastFailures, needsCast } from "./filters/filter-values.ts"
import { fitDefinitions } from "./fit-definitions.ts"
import { users } from "./users.ts"

/** The file that `DATASETS_FILE` names is wrong, or does not fit the database. */
class DatasetsFileError extends Data.TaggedError("DatasetsFileError")<{ readonly message: string }> {}

/** What may be exported, as it was last read. */
interface Registry {
  /** By name; undefined until the source database has answered once. */
  readonly datasets: ReadonlyMap<string, Dataset> | undefined
  /** What EXPORT_DATASETS names and nobody can export, with the reasons. */
  readonly excluded: ReadonlyArray<string>
  /** What the log says of it. */
  readonly lastLogged: string | undefined
}

/** Logs why the datasets could not be read; an outage has log lines of its own. */
const logUnread = ({ logged, outage }: SourceError) =>
  outage ? Effect.void : Effect.logWarning(`could not refresh the datasets: ${logged}`)

/**
 * What may be exported, as the source database has it: read at start, every `datasetsRefreshMs`, and on SIGHUP. When it
 * cannot be read, what was known stays. What `DATASETS_FILE` says must fit at start; a definition that later does not fit
 * any more excludes its dataset. `reserved` are names that no dataset can give to a parameter.
 */
export class DatasetRegistry extends Effect.Service<DatasetRegistry>()("DatasetRegistry", {
  scoped: Effect.fnUntraced(function* (reserved: ReadonlyArray<string>) {
    const { datasetsFile, exportSource, hasDemo, ...config } = yield* AppConfig
    const exportDatasets = config.exportDatasets ?? (hasDemo ? [users] : [])
    const url = Redacted.value((yield* Databases).source)
    const outage = yield* SourceOutage
    const registry = yield* Ref.make<Registry>({ datasets: undefined, excluded: [], lastLogged: undefined })

    const wrongFile = (mistakes: ReadonlyArray<string>) =>
      new DatasetsFileError({ message: `DATASETS_FILE=${JSON.stringify(datasetsFile)} is wrong: ${mistakes.join("; ")}` })

    const readDatasetsFile = Effect.gen(function* () {
      if (datasetsFile === undefined) return []
      const content = yield* Effect.tryPromise({
        try: () => readFile(datasetsFile, "utf8"),
        catch: (cause) => wrongFile([(cause as Error).message])
      })
      const { definitions, mistakes } = readDefinitions(content)
      return mistakes.length > 0 ? yield* wrongFile(mistakes) : definitions
    })

    const read = Effect.gen(function* () {
      const definitions = yield* readDatasetsFile
      const session = yield* outage.watch(openSession(url))
      const { relations, datasets, nameConflicts, mistakes } = yield* Effect.tryPromise({
        try: async () => {
          const found = await session.query<RelationRow>(datasetsStatement(exportDatasets), limits.catalogBytes)
          return { relations: found, ...(await fitDefinitions(session, found, definitions, reserved)) }
        },
        catch: toSourceError
      })
      const missing = exportDatasets.filter(({ schema, table }) =>
        relations.every((one) => one.schema !== schema || (table !== undefined && one.table !== table))
      )
      const unreadable = relations.filter(({ columns }) => !columns)
      const excluded = [
        ...missing.map(({ schema, table = "*" }) => `${schema}.${table} does not exist, or this role may not read it`),
        ...unreadable.map(({ schema, table }) => `${schema}.${table} has no columns that this role may read`),
        ...nameConflicts.map((name) => `${name} has the name of another dataset; give it another one in DATASETS_FILE`)
      ]
      yield* Ref.update(registry, (before) => ({
        ...before,
        // What nothing has changed stays the same object, so that nobody derives the same from it again.
        datasets: Bun.deepEquals(before.datasets, datasets) ? before.datasets : datasets,
        excluded
      }))
      if (mistakes.length > 0) return yield* wrongFile(mistakes)
    }).pipe(Effect.scoped)

    /** Logs what may be exported, once for each change of it. */
    const logDatasets = Effect.gen(function* () {
      const { datasets, excluded, lastLogged } = yield* Ref.get(registry)
      if (!datasets) return
      const names = [...datasets.keys()].join(", ")
      const now = [names, ...excluded].join("\n")
      if (lastLogged === now) return
      yield* Ref.update(registry, (before) => ({ ...before, lastLogged: now }))
      if (exportDatasets.length === 0)
        yield* Effect.logWarning("nothing may be exported: EXPORT_DATASETS names what may, such as public.orders,reporting.*")
      else if (names === "") yield* Effect.logWarning("nothing may be exported")
      else yield* Effect.logInfo(`may be exported: ${names}`)
      yield* Effect.forEach(excluded, (reason) => Effect.logWarning(`cannot be exported: ${reason}`))
    })

    const hangups = yield* Queue.sliding<void>(1)
    const hangup = () => void hangups.unsafeOffer(undefined)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("SIGHUP", hangup)),
      () => Effect.sync(() => process.off("SIGHUP", hangup))
    )
    yield* read.pipe(Effect.zipRight(logDatasets), Effect.catchTag("SourceError", logUnread))
    const refresh = Effect.gen(function* () {
      const { datasets } = yield* Ref.get(registry)
      yield* Effect.timeoutOption(Queue.take(hangups), datasets ? limits.datasetsRefreshMs : limits.datasetsRetryMs)
      yield* Effect.catchTags(read, {
        SourceError: logUnread,
        DatasetsFileError: ({ message }) => Effect.logError(message)
      })
      yield* logDatasets
    })
    yield* refresh.pipe(Effect.forever, Effect.forkScoped)

    /** What may be exported, by name. Fails until the source database has answered once. */
    const all: Effect.Effect<ReadonlyMap<string, Dataset>, SourceError> = Effect.flatMap(Ref.get(registry), ({ datasets }) => {
      if (datasets) return Effect.succeed(datasets)
      const message = "The datasets are not known yet: the source database has not answered"
      return Effect.fail(new SourceError({ message, retryable: true, outage: true }))
    })

    /** Finds the dataset of an export that was asked for earlier. */
    const find = Effect.fn("DatasetRegistry.find")(function* (name: string) {
      const dataset = (yield* all).get(name)
      if (dataset) return dataset
      const message = `Cannot export ${name}: there is no such dataset any more`
      return yield* new SourceError({ message, retryable: false })
    })

    const turns = yield* Effect.makeSemaphore(limits.castSessions)
    /** Returns the conditions with values that the server refuses for their columns. It is asked within `streamAdmissionMs`. */
    const castFailures = <A extends ColumnCondition>(conditions: ReadonlyArray<A>) =>
      conditions.some(needsCast)
        ? Effect.flatMap(outage.watch(openSession(url)), (session) =>
            Effect.tryPromise({ try: () => findCastFailures(session, conditions), catch: toSourceError })
          ).pipe(
            Effect.scoped,
            turns.withPermits(1),
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
