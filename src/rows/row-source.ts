import { Effect, Redacted, type Scope } from "effect"
import { AppConfig, Databases, limits } from "../config.ts"
import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { ByteRows } from "./byte-rows.ts"
import { relationsStatement } from "./catalog.ts"
import { makeConnections, type SourceBusy } from "./connections.ts"
import { CopySource } from "./copy-source.ts"
import { CursorSource } from "./cursor-source.ts"
import { assist } from "./helpers.ts"
import { Datasets } from "./datasets.ts"
import { partsOf, planRows, type Explained, type Relation, type RowPlan } from "./plan.ts"
import { connectSource, type SourceConnection } from "./source-connection.ts"
import { toSourceError, type SourceError } from "./source-error.ts"
import { copyStatement, quoteStatement, selectStatement } from "./statement.ts"
import { checkUnchanged } from "./unchanged.ts"

/** The COPY statements of a plan's parts. */
const copyStatements = async (
  connection: SourceConnection,
  spec: ExportSpec,
  dataset: Dataset,
  plan: RowPlan
): Promise<Iterator<string>> => {
  const statement = selectStatement(spec, dataset)
  const [quoted = {}] =
    statement.values.length > 0 ? await connection.query<Record<string, string>>(quoteStatement(statement)) : []
  return partsOf(plan).map((part) => copyStatement(spec, dataset, Object.values(quoted), part))
}

const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: toSourceError })

/** Opens exports on the source database, on at most `MAX_SOURCE_CONNECTIONS` connections at once. */
export class RowSource extends Effect.Service<RowSource>()("RowSource", {
  effect: Effect.gen(function* () {
    const { batchSize, chunkSize, exportSource, exportParallelism, maxConcurrentExports, maxSourceConnections, streamLookahead } =
      yield* AppConfig
    const url = Redacted.value((yield* Databases).source)
    const datasets = yield* Datasets
    const connections = yield* makeConnections({
      connections: maxSourceConnections,
      jobs: maxConcurrentExports,
      helpers: Math.floor(streamLookahead / limits.helperBytes)
    })

    const plan = async (connection: SourceConnection, spec: ExportSpec, dataset: Dataset): Promise<RowPlan> => {
      const { text, values } = selectStatement(spec, dataset)
      const [explained] = await connection.query<Explained>({ text: `explain (format json) ${text}`, values })
      await checkUnchanged(connection, spec, dataset)
      const relations = exportSource === "copy" ? await connection.query<Relation>(relationsStatement(dataset)) : []
      return planRows(spec, explained!, relations, {
        source: exportSource,
        connections: exportParallelism,
        partBytes: limits.partBytes,
        partPages: limits.partPages
      })
    }

    const start = (spec: ExportSpec) =>
      Effect.gen(function* () {
        const dataset = yield* datasets.find(spec.dataset)
        const connection = yield* connectSource(url)
        const rowPlan = yield* attempt(() => plan(connection, spec, dataset))
        const { source, parts, reason, estimatedRows } = rowPlan
        yield* Effect.logInfo("export planned").pipe(Effect.annotateLogs({ source, parts, reason, estimatedRows }))
        if (source === "cursor") {
          return new CursorSource(
            connection,
            spec,
            { statement: selectStatement(spec, dataset), estimatedRows },
            batchSize,
            chunkSize
          )
        }
        const statements = yield* attempt(() => copyStatements(connection, spec, dataset, rowPlan))
        const helpers = Math.min(exportParallelism, parts) - 1
        // Before the first part is asked for: its answer would come after that.
        const snapshot = helpers > 0 ? yield* attempt(() => connection.exportSnapshot()) : undefined
        const rows = new CopySource(connection, spec, statements, estimatedRows, chunkSize, helpers * limits.helperBytes)
        if (snapshot) {
          const assistants = Array.from({ length: helpers }, () => assist(rows, connections, url, snapshot))
          yield* Effect.forkScoped(Effect.all(assistants, { concurrency: "unbounded" }))
        }
        return rows
      })

    /** Waits for a connection as long as it takes. The scope owns the connection. */
    const open = (spec: ExportSpec): Effect.Effect<ByteRows, SourceError, Scope.Scope> =>
      connections.lead.pipe(Effect.zipRight(start(spec)))

    /** Waits `streamAdmissionMs` for a connection. */
    const openNow = (spec: ExportSpec): Effect.Effect<ByteRows, SourceError | SourceBusy, Scope.Scope> =>
      connections.leadNow.pipe(Effect.zipRight(start(spec)))

    /** Succeeds when the source answers; beside the bound, so that a busy service is not an unready one. */
    const check = Effect.scoped(connectSource(url)).pipe(Effect.asVoid)

    return { open, openNow, check } as const
  })
}) {}
