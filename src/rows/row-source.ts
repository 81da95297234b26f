import { Effect, Redacted, type Scope } from "effect"
import { AppConfig, Databases, limits } from "../config.ts"
import { datasets } from "../datasets/users.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { ByteRows } from "./byte-rows.ts"
import { relationsStatement } from "./catalog.ts"
import { makeConnections, type SourceBusy } from "./connections.ts"
import { CopySource } from "./copy-source.ts"
import { CursorSource } from "./cursor-source.ts"
import { assist } from "./helpers.ts"
import { partsOf, planRows, type Explained, type Relation, type RowPlan } from "./plan.ts"
import { connectSource, toSourceError, type SourceConnection, type SourceError } from "./source-connection.ts"
import { copyStatement, quoteStatement, selectStatement } from "./statement.ts"

/** The COPY statements of a plan's parts. */
const copyStatements = async (connection: SourceConnection, spec: ExportSpec, plan: RowPlan): Promise<Iterator<string>> => {
  const statement = selectStatement(spec)
  const [quoted = {}] =
    statement.values.length > 0 ? await connection.query<Record<string, string>>(quoteStatement(statement)) : []
  return partsOf(plan).map((part) => copyStatement(spec, Object.values(quoted), part))
}

const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: toSourceError })

/** Opens exports on the source database, on at most `MAX_SOURCE_CONNECTIONS` connections at once. */
export class RowSource extends Effect.Service<RowSource>()("RowSource", {
  effect: Effect.gen(function* () {
    const { batchSize, chunkSize, exportSource, exportParallelism, maxConcurrentExports, maxSourceConnections, streamLookahead } =
      yield* AppConfig
    const url = Redacted.value((yield* Databases).source)
    const connections = yield* makeConnections({
      connections: maxSourceConnections,
      jobs: maxConcurrentExports,
      helpers: Math.floor(streamLookahead / limits.helperBytes)
    })

    const plan = async (connection: SourceConnection, spec: ExportSpec): Promise<RowPlan> => {
      const { text, values } = selectStatement(spec)
      const [explained] = await connection.query<Explained>({ text: `explain (format json) ${text}`, values })
      const relations =
        exportSource === "copy" ? await connection.query<Relation>(relationsStatement(datasets[spec.dataset]!)) : []
      return planRows(spec, explained!, relations, {
        source: exportSource,
        connections: exportParallelism,
        partBytes: limits.partBytes,
        partPages: limits.partPages
      })
    }

    const start = (spec: ExportSpec) =>
      Effect.gen(function* () {
        const connection = yield* connectSource(url)
        const rowPlan = yield* attempt(() => plan(connection, spec))
        const { source, parts, reason, estimatedRows } = rowPlan
        yield* Effect.logInfo("export planned").pipe(Effect.annotateLogs({ source, parts, reason, estimatedRows }))
        if (source === "cursor") {
          return new CursorSource(connection, spec, { statement: selectStatement(spec), estimatedRows }, batchSize, chunkSize)
        }
        const statements = yield* attempt(() => copyStatements(connection, spec, rowPlan))
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
