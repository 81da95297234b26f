import { type Statement } from "../source/statement.ts"
import { Effect, Redacted, type Scope } from "effect"
import { limits } from "../limits.ts"
import { AppConfig, Databases } from "../config.ts"
import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { ExportBytes } from "./export-bytes.ts"
import { histogramStatement, orderedKey } from "./plan/key-ranges.ts"
import { readMoments } from "./moments.ts"
import { relationsStatement } from "./plan/table-layout.ts"
import { makeAdmission, type SourceBusy } from "../source/admission.ts"
import { CopyBytes } from "./copy/copy-bytes.ts"
import { CursorBytes } from "./cursor/cursor-bytes.ts"
import { assist } from "./copy/parallel-readers.ts"
import { Datasets } from "../datasets/registry.ts"
import { SourceOutage } from "../source/outage.ts"
import { partsOf, planRows, type Explained, type Relation, type ExportPlan } from "./plan/plan.ts"
import { explaining, rawLayout } from "./raw-encoding.ts"
import { openSession, type SourceSession } from "../source/session.ts"
import { SourceError, toSourceError } from "../source/source-error.ts"
import { copyStatements, quoteStatement, selectStatement, layoutOf } from "./sql/statement.ts"
import { checkColumns, checkUnchanged, lockDataset, withoutHidden } from "./consistency.ts"
import { Utf16Bytes } from "./utf16-bytes.ts"

/** The COPY statements of a plan's parts. */
const partStatements = async (
  connection: SourceSession,
  spec: ExportSpec,
  dataset: Dataset,
  plan: ExportPlan,
  encoding: string | undefined
): Promise<Iterator<string>> => {
  const statement = selectStatement(spec, dataset)
  const quoted =
    statement.values.length > 0 ? await connection.query<{ readonly literal: string }>(quoteStatement(statement)) : []
  const literals = quoted.map(({ literal }) => literal)
  return partsOf(plan).map(copyStatements(spec, dataset, literals, encoding))
}

/**
 * Estimates the bytes that the values of a query take in the plan of one relation, which may contain them in two
 * conditions.
 */
const filterBytes = ({ values }: Statement): number => 2 * values.reduce((sum, value) => sum + value.length + 20, 0)

/** Makes the query that locks an export's relations and estimates its rows when the filters are too long for its plan. */
const withoutFilters = (spec: ExportSpec, dataset: Dataset): [ExportSpec, Dataset] => [
  { ...spec, conditions: [] },
  { ...dataset, conditions: [] }
]

/** A job may have waited while its dataset got another row limit. */
const atMost = (spec: ExportSpec, maxRows: number | undefined): ExportSpec =>
  maxRows === undefined ? spec : { ...spec, total: Math.min(spec.total ?? maxRows, maxRows) }

const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: toSourceError })

/** Opens exports on the source database, on at most `MAX_SOURCE_CONNECTIONS` connections at once. */
export class ExportReader extends Effect.Service<ExportReader>()("ExportReader", {
  effect: Effect.gen(function* () {
    const { batchSize, chunkSize, exportSource, exportParallelism, maxConcurrentExports, maxSourceConnections, streamLookahead } =
      yield* AppConfig
    const url = Redacted.value((yield* Databases).source)
    const datasets = yield* Datasets
    const outage = yield* SourceOutage
    const connections = yield* makeAdmission({
      connections: maxSourceConnections,
      jobs: maxConcurrentExports,
      helpers: Math.floor(streamLookahead / limits.extraReaderBytes)
    })

    const planOn = async (connection: SourceSession, spec: ExportSpec, dataset: Dataset): Promise<ExportPlan> => {
      const isCopy = exportSource === "copy"
      const relations = isCopy ? await connection.query<Relation>(relationsStatement(dataset)) : []
      const statement = selectStatement(spec, dataset)
      const isLong = filterBytes(statement) * relations.length > limits.planBytes
      const { text, values } = isLong ? selectStatement(...withoutFilters(spec, dataset)) : statement
      const [explained] = await connection.query<Explained>({ text: `explain (format json) ${text}`, values }).catch((cause) => {
        throw withoutHidden(cause as SourceError, dataset)
      })
      await checkUnchanged(connection, spec, dataset)
      const key = isCopy ? orderedKey(spec, dataset) : undefined
      const histogram =
        key === undefined ? [] : await connection.query<{ readonly bound: string }>(histogramStatement(dataset, key))
      return planRows(
        spec,
        explained!,
        relations,
        {
          source: exportSource,
          onePart: isLong ? "its filters are too long to plan with" : undefined,
          connections: exportParallelism,
          partBytes: limits.partBytes,
          partPages: limits.partPages
        },
        histogram.map(({ bound }) => BigInt(bound))
      )
    }

    /** A connection for the spec, and how it is read there. */
    const begin = (asked: ExportSpec) =>
      Effect.gen(function* () {
        const dataset = yield* datasets.find(asked.dataset)
        const limited = atMost(asked, dataset.maxRows)
        const connection = yield* outage.watch(openSession(url, { timezone: limited.format.timezone }))
        yield* attempt(() => lockDataset(connection, dataset))
        const spec = yield* attempt(async () => {
          checkColumns(limited, dataset)
          return readMoments(connection, limited, dataset)
        })
        return { spec, dataset, connection, plan: yield* attempt(() => planOn(connection, spec, dataset)) }
      })

    const start = (asked: ExportSpec) =>
      Effect.gen(function* () {
        const { spec, dataset, connection, plan } = yield* begin(asked)
        const { source, parts, reason, estimatedRows } = plan
        yield* Effect.logInfo("export planned").pipe(
          Effect.annotateLogs({ dataset: dataset.name, source, parts, reason, estimatedRows })
        )
        const asText = layoutOf(spec, dataset)
        const raw = spec.format.encoding === "raw" ? yield* attempt(() => rawLayout(connection, asText)) : undefined
        const shape = raw ?? asText
        const connect = openSession(url, { timezone: spec.format.timezone })
        const search = { connect, spare: connections.spare, hasRaw: exportSource === "copy" }
        const explained = raw ? (rows: ExportBytes) => rows : yield* explaining(spec, dataset, search)
        if (source === "cursor") {
          const statement = selectStatement(spec, dataset)
          return explained(new CursorBytes(connection, shape, { statement, estimatedRows }, batchSize, chunkSize))
        }
        const statements = yield* attempt(() => partStatements(connection, spec, dataset, plan, raw?.encoding))
        const helpers = Math.min(exportParallelism, parts) - 1
        // Before the first part is asked for: its answer would come after that.
        const snapshot = helpers > 0 ? yield* attempt(() => connection.exportSnapshot()) : undefined
        const rows = new CopyBytes(connection, shape, statements, estimatedRows, chunkSize, helpers * limits.extraReaderBytes)
        if (snapshot) {
          const follow = openSession(url, { snapshot, timezone: spec.format.timezone })
          const assistants = Array.from({ length: helpers }, () => assist(rows, connections, follow))
          yield* Effect.forkScoped(Effect.all(assistants, { concurrency: "unbounded" }))
        }
        return explained(rows)
      }).pipe(Effect.map((rows): ExportBytes => (asked.format.encoding === "utf-16le" ? new Utf16Bytes(rows) : rows)))

    /** Waits for a connection as long as it takes. The scope owns the connection. */
    const open = (spec: ExportSpec): Effect.Effect<ExportBytes, SourceError, Scope.Scope> =>
      connections.lead.pipe(Effect.zipRight(start(spec)))

    /** Waits `streamAdmissionMs` for a connection. */
    const openNow = (spec: ExportSpec): Effect.Effect<ExportBytes, SourceError | SourceBusy, Scope.Scope> =>
      connections.acquireForStream.pipe(Effect.zipRight(start(spec)))

    /** How an export would be read, found out within `streamAdmissionMs`. */
    const plan = (spec: ExportSpec): Effect.Effect<ExportPlan, SourceError | SourceBusy> =>
      Effect.scoped(connections.acquireForStream.pipe(Effect.zipRight(begin(spec)))).pipe(
        Effect.map((begun) => begun.plan),
        Effect.timeoutFail({
          duration: limits.streamAdmissionMs,
          onTimeout: () => new SourceError({ message: "Cannot plan the export: the source database is slow", retryable: true })
        })
      )

    /** Succeeds when the source answers; beside the bound, so that a busy service is not an unready one. */
    const check = Effect.scoped(outage.watch(openSession(url))).pipe(Effect.asVoid)

    return { open, openNow, plan, check } as const
  })
}) {}
