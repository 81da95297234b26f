import { Effect, Redacted, type Scope } from "effect"
import { AppConfig, Databases } from "../config.ts"
import type { Dataset } from "../datasets/dataset.ts"
import { DatasetRegistry } from "../datasets/registry.ts"
import type { TruncatedBy } from "../exports/export-job.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { writerOf } from "../formats/format.ts"
import { limits } from "../limits.ts"
import { makeAdmission, type SourceBusy } from "../source/admission.ts"
import { SourceOutage } from "../source/outage.ts"
import { openSession, type SourceSession } from "../source/session.ts"
import { SourceError, toSourceError } from "../source/source-error.ts"
import type { Statement } from "../source/statement.ts"
import { checkColumns, checkUnchanged, lockDataset, withoutHidden } from "./consistency.ts"
import { CopyBytes } from "./copy/copy-bytes.ts"
import { keepReader } from "./copy/parallel-readers.ts"
import { CursorBytes } from "./cursor/cursor-bytes.ts"
import type { ExportBytes } from "./export-bytes.ts"
import { explainInvalidBytes } from "./invalid-bytes.ts"
import { readMoments } from "./moments.ts"
import { histogramStatement, orderedKey } from "./plan/key-ranges.ts"
import { partsOf, planRows, type Explained, type ExportPlan, type Relation } from "./plan/plan.ts"
import { relationsStatement } from "./plan/table-layout.ts"
import { rawLayout } from "./raw-encoding.ts"
import { copyStatements, layoutOf, moreRowsStatement, quoteStatement, selectStatement } from "./sql/statement.ts"
import { Utf16Bytes } from "./utf16-bytes.ts"

/** An export that is being read. `truncatedBy` names the limit of the operator that leaves rows out. */
export interface OpenExport {
  readonly bytes: ExportBytes
  readonly truncatedBy: TruncatedBy | undefined
}

/** Estimates the bytes that the values of a query take in the plan of one relation, which may contain them in two conditions. */
const filterBytes = ({ values }: Statement): number => 2 * values.reduce((sum, value) => sum + value.length + 20, 0)

/** Writes the query that locks an export's relations and estimates its rows when the filters are too long for its plan. */
const statementWithoutFilters = (spec: ExportSpec, dataset: Dataset): Statement =>
  selectStatement({ ...spec, conditions: [] }, { ...dataset, conditions: [] })

/** Applies the row limit of a dataset as it is now: a job may have waited while it was changed. */
const withMaxRows = (spec: ExportSpec, { maxRows }: Dataset): ExportSpec =>
  maxRows === undefined ? spec : { ...spec, total: Math.min(spec.total ?? maxRows, maxRows) }

/** Says whether the dataset's row limit leaves rows out. The rows are counted up to the limit, in the export's snapshot. */
const truncatedBy = async (
  session: SourceSession,
  asked: ExportSpec,
  spec: ExportSpec,
  dataset: Dataset
): Promise<TruncatedBy | undefined> => {
  const { maxRows } = dataset
  if (maxRows === undefined || (asked.total !== undefined && asked.total <= maxRows)) return undefined
  const more = await session.query(moreRowsStatement(spec, dataset, maxRows))
  return more.length > 0 ? "maxRows" : undefined
}

const tryRead = <A>(read: () => Promise<A>) => Effect.tryPromise({ try: read, catch: toSourceError })

/** Opens exports on the source database, in at most `MAX_SOURCE_CONNECTIONS` sessions at once. */
export class ExportReader extends Effect.Service<ExportReader>()("ExportReader", {
  effect: Effect.gen(function* () {
    const config = yield* AppConfig
    const { exportSource, exportParallelism, maxSourceConnections } = config
    const url = Redacted.value((yield* Databases).source)
    const datasets = yield* DatasetRegistry
    const outage = yield* SourceOutage
    const admission = yield* makeAdmission({
      sessions: maxSourceConnections,
      jobs: config.maxConcurrentExports,
      readers: Math.floor(config.streamLookahead / limits.extraReaderBytes)
    })

    const planExport = async (session: SourceSession, spec: ExportSpec, dataset: Dataset, statement: Statement) => {
      const method = writerOf(spec.format) === "server" ? exportSource : "cursor"
      const isCopy = method === "copy"
      const relations = isCopy ? await session.query<Relation>(relationsStatement(dataset)) : []
      const isLong = filterBytes(statement) * relations.length > limits.planBytes
      const { text, values } = isLong ? statementWithoutFilters(spec, dataset) : statement
      const [explained] = await session.query<Explained>({ text: `explain (format json) ${text}`, values }).catch((cause) => {
        throw withoutHidden(cause as SourceError, dataset)
      })
      await checkUnchanged(session, spec, dataset)
      const key = isCopy ? orderedKey(spec, dataset) : undefined
      const histogram = key === undefined ? [] : await session.query<{ readonly bound: string }>(histogramStatement(dataset, key))
      return planRows(
        spec,
        explained!,
        relations,
        {
          method,
          onePart: isLong ? "its filters are too long to plan with" : undefined,
          sessions: exportParallelism,
          partBytes: limits.partBytes,
          partPages: limits.partPages
        },
        histogram.map(({ bound }) => BigInt(bound))
      )
    }

    /** Opens the leader's session and plans the export in it: moments t1 to t3 of `consistency.ts`. */
    const begin = (asked: ExportSpec) =>
      Effect.gen(function* () {
        const dataset = yield* datasets.find(asked.dataset)
        const session = yield* outage.watch(openSession(url, { timezone: asked.format.timezone }))
        yield* tryRead(() => lockDataset(session, dataset))
        const spec = yield* tryRead(async () => {
          checkColumns(asked, dataset)
          return readMoments(session, withMaxRows(asked, dataset), dataset)
        })
        const statement = selectStatement(spec, dataset)
        const plan = yield* tryRead(() => planExport(session, spec, dataset, statement))
        return { spec, dataset, session, statement, plan }
      })

    const readByCopy = (begun: Effect.Effect.Success<ReturnType<typeof begin>>) =>
      Effect.gen(function* () {
        const { spec, dataset, session, statement, plan } = begun
        const layout = layoutOf(spec, dataset)
        const raw = spec.format.encoding === "raw" ? yield* tryRead(() => rawLayout(session, layout)) : undefined
        const quoted = yield* tryRead(async () =>
          statement.values.length > 0 ? session.query<{ readonly literal: string }>(quoteStatement(statement)) : []
        )
        const literals = quoted.map(({ literal }) => literal)
        const statements = partsOf(plan).map(copyStatements(spec, dataset, literals, raw?.encoding))
        const readers = Math.min(exportParallelism, plan.parts) - 1
        // Exported before the first COPY is sent, since the answer would come after the rows.
        const snapshot = readers > 0 ? yield* tryRead(() => session.exportSnapshot()) : undefined
        const lookAhead = readers * limits.extraReaderBytes
        const bytes = new CopyBytes(session, raw ?? layout, statements, plan.estimatedRows, config.chunkSize, lookAhead)
        if (snapshot) {
          const open = openSession(url, { snapshot, timezone: spec.format.timezone })
          const kept = Array.from({ length: readers }, () => keepReader(bytes, admission, open))
          yield* Effect.forkScoped(Effect.all(kept, { concurrency: "unbounded" }))
        }
        return bytes
      })

    const start = (asked: ExportSpec): Effect.Effect<OpenExport, SourceError, Scope.Scope> =>
      Effect.gen(function* () {
        const begun = yield* begin(asked)
        const { spec, dataset, session, statement, plan } = begun
        const { method, parts, reason, estimatedRows } = plan
        yield* Effect.logInfo("export planned").pipe(
          Effect.annotateLogs({ dataset: dataset.name, method, parts, reason, estimatedRows })
        )
        const truncated = yield* tryRead(() => truncatedBy(session, asked, spec, dataset))
        const read: ExportBytes =
          method === "copy"
            ? yield* readByCopy(begun)
            : new CursorBytes(session, layoutOf(spec, dataset), { statement, estimatedRows }, config.batchSize, config.chunkSize)
        const { encoding, timezone } = spec.format
        const search = { open: openSession(url, { timezone }), tryAcquire: admission.tryAcquire, hasRaw: method === "copy" }
        const utf8 = encoding === "raw" ? read : yield* explainInvalidBytes(read, spec, dataset, statement, search)
        return { bytes: encoding === "utf-16le" ? new Utf16Bytes(utf8) : utf8, truncatedBy: truncated }
      })

    /** Waits for a session as long as it takes. The scope owns all sessions of the export. */
    const openForJob = (spec: ExportSpec): Effect.Effect<OpenExport, SourceError, Scope.Scope> =>
      admission.acquireForJob.pipe(Effect.zipRight(start(spec)))

    /** Waits for a session for `streamAdmissionMs`. */
    const openForStream = (spec: ExportSpec): Effect.Effect<OpenExport, SourceError | SourceBusy, Scope.Scope> =>
      admission.acquireForStream.pipe(Effect.zipRight(start(spec)))

    /** Returns how an export would be read, within `streamAdmissionMs`. */
    const plan = (spec: ExportSpec): Effect.Effect<ExportPlan, SourceError | SourceBusy> =>
      Effect.scoped(admission.acquireForStream.pipe(Effect.zipRight(begin(spec)))).pipe(
        Effect.map((begun) => begun.plan),
        Effect.timeoutFail({
          duration: limits.streamAdmissionMs,
          onTimeout: () => new SourceError({ message: "Cannot plan the export: the source database is slow", retryable: true })
        })
      )

    /** Succeeds when the source answers. No permit is taken, so that a busy service is not reported as an unready one. */
    const check = Effect.scoped(outage.watch(openSession(url))).pipe(Effect.asVoid)

    return { openForJob, openForStream, plan, check } as const
  })
}) {}
