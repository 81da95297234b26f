import type { ExportSpec } from "../../exports/export-spec.ts"
import { splitPointsOf, keyParts, type KeyRanges } from "./key-ranges.ts"
import type { PartRange, RelationIdentity } from "../sql/statement.ts"

/** How an export is read. */
export interface ExportPlan {
  /** `copy`: the server writes the CSV. `cursor`: the server sends rows, and we write the CSV. */
  readonly method: "copy" | "cursor"
  /** `single`: the dataset's query as it is, in one part. `scans`: relations in the order of the file. `keys`: one table by its key. */
  readonly split: { readonly kind: "single" } | { readonly kind: "scans"; readonly scans: ReadonlyArray<Scan> } | KeyRanges
  /** The number of parts. */
  readonly parts: number
  /** Why it is one part, or how it is split. */
  readonly reason: string
  /** Rows that the planner expects, and bytes of each in memory. */
  readonly estimatedRows: number
  readonly rowWidth: number
}

/** A relation that is read in parts of `pagesPerPart` pages, or in one part when that is undefined. */
interface Scan extends RelationIdentity {
  readonly pages: number
  readonly pagesPerPart: number | undefined
}

/** The dataset's table, or a partition of it, as the catalog has it. */
export interface Relation extends RelationIdentity {
  /** Ranges of pages can be read: the relation is a heap, on a server with TID range scans (PostgreSQL 14). */
  readonly hasPages: boolean
  /** Reading the relation by its own name returns the same rows as reading it through the dataset. */
  readonly isSameAlone: boolean
  readonly isForeign: boolean
  readonly pages: number
  /** The size with TOAST. */
  readonly bytes: number
}

/** A node of `explain (format json)`. */
interface PlanNode {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Plan Rows": number
  readonly "Plan Width": number
  readonly Plans?: ReadonlyArray<PlanNode>
}

/** The one row that `explain (format json)` answers. */
export interface Explained {
  readonly "QUERY PLAN": ReadonlyArray<{ readonly Plan: PlanNode }>
}

interface PlanSettings {
  readonly method: "copy" | "cursor"
  /** Why the export must be read in one part, if it must. */
  readonly onePart?: string | undefined
  /** The number of sessions that the export may use. */
  readonly sessions: number
  /** Bytes of CSV that a part should have. */
  readonly partBytes: number
  /** Pages that a part reads at most, however few bytes they give, since a part may have to be read again. */
  readonly partPages: number
}

const identityOf = ({ schema, table, oid, root }: Relation): RelationIdentity => ({ schema, table, oid, root })

/** Fewer parts are not worth another session. */
const LEAST_PARTS = 3

/**
 * Decides how an export is read, from the planner's own view of its query and the catalog's of its relations: a
 * full scan of a heap is split into ranges of pages, a partitioned table into its partitions as the planner
 * appends them, an index scan in the order of a key into ranges of that, and all else is one part.
 */
export const planRows = (
  spec: ExportSpec,
  { "QUERY PLAN": [explained] }: Explained,
  relations: ReadonlyArray<Relation>,
  settings: PlanSettings,
  /** `histogram_bounds` of the key by which the export is sorted, if it is. */
  histogram: ReadonlyArray<bigint> = []
): ExportPlan => {
  const root = explained!.Plan
  const expected = {
    estimatedRows: Math.min(root["Plan Rows"], spec.total ?? Number.MAX_SAFE_INTEGER),
    rowWidth: root["Plan Width"]
  }
  const onePart = (reason: string): ExportPlan => ({
    method: settings.method,
    split: { kind: "single" },
    parts: 1,
    reason,
    ...expected
  })
  if (settings.method === "cursor") return onePart("a cursor reads in one part")
  if (settings.onePart !== undefined) return onePart(settings.onePart)
  if (settings.sessions === 1) return onePart("one session")
  if (spec.total !== undefined) return onePart("a total")

  const keys = keyRanges(spec, root, relations, settings, histogram)
  if (keys) {
    const parts = keys.splitPoints.length + 1
    if (parts < LEAST_PARTS) return onePart("small")
    return { method: "copy", split: keys, parts, reason: "ranges of its key", ...expected }
  }
  const nodes = root["Node Type"] === "Append" ? (root.Plans ?? []) : [root]
  const scans: Array<Scan> = []
  const relationsNamed = Map.groupBy(relations, ({ table }) => table)
  const nodesNamed = Map.groupBy(nodes, (node) => node["Relation Name"])
  for (const node of nodes) {
    const name = node["Relation Name"]
    const [relation, ...others] = name === undefined ? [] : (relationsNamed.get(name) ?? [])
    if (!relation || others.length > 0 || nodesNamed.get(name)!.length > 1)
      return onePart(`the plan is ${article(root["Node Type"])}`)
    const path = `${relation.schema}.${relation.table}`
    // Two sessions on a foreign server would see it at two moments.
    if (relation.isForeign) return onePart(`${path} is foreign`)
    if (!relation.isSameAlone) return onePart(`${path} shows other rows by itself`)
    const split = node["Node Type"] === "Seq Scan" && relation.hasPages
    if (!split && nodes.length === 1) return onePart(`the plan is ${article(node["Node Type"])}`)
    scans.push({
      ...identityOf(relation),
      pages: relation.pages,
      pagesPerPart: split ? pagesPerPart(node, relation, settings) : undefined
    })
  }
  const parts = scans.reduce((sum, scan) => sum + partCount(scan), 0)
  if (parts < LEAST_PARTS) return onePart("small")
  return {
    method: "copy",
    split: { kind: "scans", scans },
    parts,
    reason: scans.length > 1 ? "partitions and ranges of pages" : "ranges of pages",
    ...expected
  }
}

/**
 * Splits an export that is sorted by its key, if the planner reads it by an index. Where the planner would rather sort, each
 * range might scan the whole table.
 */
const keyRanges = (
  { order, columns }: ExportSpec,
  root: PlanNode,
  relations: ReadonlyArray<Relation>,
  { partBytes }: PlanSettings,
  histogram: ReadonlyArray<bigint>
): KeyRanges | undefined => {
  const [[relation, ...others], [first]] = [relations, order]
  const isAlone = relation !== undefined && others.length === 0 && relation.isSameAlone && !relation.isForeign
  if (!first || histogram.length === 0 || !isAlone || !root["Node Type"].startsWith("Index")) return undefined
  const rowsPerPart = partBytes / (root["Plan Width"] + columns.length)
  const splitPoints = splitPointsOf(histogram, Math.ceil(root["Plan Rows"] / rowsPerPart))
  return { ...identityOf(relation), kind: "keys", column: first.column, descending: first.descending, splitPoints }
}

const article = (nodeType: string) => `${/^[AEIO]/.test(nodeType) ? "an" : "a"} ${nodeType}`

const partCount = ({ pages, pagesPerPart = Number.POSITIVE_INFINITY }: Scan) => Math.max(1, Math.ceil(pages / pagesPerPart))

const pagesPerPart = (node: PlanNode, { pages, bytes }: Relation, { partBytes, partPages }: PlanSettings): number => {
  const rowsPerPage = node["Plan Rows"] / Math.max(1, pages)
  // The planner's width leaves TOAST out; the stored size is the other bound.
  const csvBytesPerPage = Math.max(1, rowsPerPage * node["Plan Width"], bytes / Math.max(1, pages) - PAGE_BYTES)
  return Math.min(partPages, Math.max(1, Math.round(partBytes / csvBytesPerPage)))
}

/** PostgreSQL's usual page size. Here it only separates the heap from TOAST. */
const PAGE_BYTES = 8192

/** Yields the parts of a plan in the order of the file, one at a time: a large table has hundreds of thousands. */
export function* partsOf({ split }: ExportPlan): Generator<PartRange> {
  switch (split.kind) {
    case "single":
      return yield { kind: "single" }
    case "keys":
      return yield* keyParts(split)
    case "scans":
      for (const scan of split.scans) yield* scanParts(scan)
  }
}

function* scanParts({ pages, pagesPerPart: step, ...relation }: Scan): Generator<PartRange> {
  if (step === undefined) return yield { ...relation, kind: "relation" }
  // The last range is open: nothing visible lies beyond the pages counted, but nothing is lost by looking.
  for (let from = 0; from === 0 || from < pages; from += step) {
    yield { ...relation, kind: "pages", from, to: from + step < pages ? from + step : undefined }
  }
}
