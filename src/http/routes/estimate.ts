import { Duration, Effect } from "effect"
import { AppConfig } from "../../config.ts"
import type { Dataset } from "../../datasets/dataset.ts"
import type { ExportSpec } from "../../exports/export-spec.ts"
import type { ExportStatistics } from "../../jobs/store/statistics.ts"
import { ExportStore } from "../../jobs/export-store.ts"
import { RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { DatasetRegistry } from "../../datasets/registry.ts"
import type { ExportPlan } from "../../read/plan/plan.ts"
import { ExportReader } from "../../read/export-reader.ts"
import type { Handlers } from "../handler.ts"
import { exportRequest } from "../request/export-request.ts"
import { boundRefusals, letIn } from "../request/rate-limit.ts"

/** A number, and what it rests on. */
interface Estimated {
  readonly value: number
  readonly basis: string
}

/** Bytes of a value in memory, which the planner counts, and as text usually. Others are about as long in both. */
const TEXT_BYTES = new Map<string, readonly [memory: number, text: number]>([
  ["boolean", [1, 1]],
  ["smallint", [2, 3]],
  ["integer", [4, 6]],
  ["bigint", [8, 8]],
  ["real", [4, 8]],
  ["double precision", [8, 14]],
  ["date", [4, 10]],
  ["timestamp with time zone", [8, 26]],
  ["timestamp without time zone", [8, 23]],
  ["uuid", [16, 36]]
])

/** Where nothing was measured yet. */
const ASSUMED_BYTES_PER_SECOND = 50_000_000

const bytesOf = (rows: number, spec: ExportSpec, dataset: Dataset, plan: ExportPlan, same?: ExportStatistics): Estimated => {
  if (same) {
    const value = Math.round((rows * same.bytes) / same.rows)
    return { value, basis: `bytes a row of the last ${same.exports} exports of these columns in this format` }
  }
  const texts = spec.columns.map(
    ({ name, path }) => (path ? undefined : TEXT_BYTES.get(dataset.columns.get(name)?.base ?? "")) ?? [0, 0]
  )
  const width = texts.reduce((sum, [memory, text]) => sum + text - memory, plan.rowWidth) + spec.columns.length
  const encoded = spec.format.encoding === "utf-16le" ? 2 : 1
  return { value: Math.round(rows * Math.max(width, 1) * encoded), basis: "the planner's width of a row" }
}

const secondsOf = (bytes: number, any?: ExportStatistics): Estimated =>
  any && any.seconds > 0
    ? {
        value: Math.ceil((bytes * any.seconds) / any.bytes),
        basis: `bytes a second of the last ${any.exports} exports of this dataset`
      }
    : { value: Math.ceil(bytes / ASSUMED_BYTES_PER_SECOND), basis: "nothing was measured yet; 50 MB/s are assumed" }

/** What an export would be, before anybody waits for it. */
export const estimateHandler = Effect.gen(function* () {
  const { exportTtl, exportParallelism, maxConcurrentExports } = yield* AppConfig
  const datasets = yield* DatasetRegistry
  const reader = yield* ExportReader
  const store = yield* ExportStore
  const limiter = yield* RateLimiter

  const documentOf = (
    spec: ExportSpec,
    dataset: Dataset,
    plan: ExportPlan,
    statistics: ReadonlyMap<string, ExportStatistics>
  ) => {
    const { method, parts, reason } = plan
    const rows = { value: Math.round(plan.estimatedRows), basis: "the database's planner" }
    const bytes = bytesOf(rows.value, spec, dataset, plan, statistics.get("same"))
    return {
      dataset: spec.dataset,
      rows,
      bytes,
      seconds: secondsOf(bytes.value, statistics.get("any")),
      plan: { source: method, parts, connections: Math.min(parts, exportParallelism), reason },
      limits: {
        rows: spec.total ?? dataset.maxRows ?? null,
        concurrentExports: maxConcurrentExports,
        secondsKept: Duration.toSeconds(exportTtl)
      }
    }
  }

  const estimateExport: Handlers["estimateExport"] = (request) =>
    Effect.gen(function* () {
      const { undo } = yield* letIn(request, limiter, "estimate")
      const read = exportRequest(request, boundRefusals(request, limiter, datasets))
      const spec = yield* read.pipe(Effect.onError(() => undo))
      const dataset = yield* datasets.find(spec.dataset)
      const plan = yield* reader.plan(spec)
      const statistics = yield* store.exportStatistics(spec)
      return { document: documentOf(spec, dataset, plan, statistics), headers: { "Cache-Control": "no-store" } }
    }).pipe(Effect.scoped)

  return { estimateExport }
})
