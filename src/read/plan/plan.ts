import type { ExportSpec } from "../../exports/export-spec.ts"
import { splitPointsOf, keyParts, type KeyRanges } from "./key-ranges.ts"
import type { Identity, Part } from "../sql/statement.ts"

/** How an export is read. */
export interface ExportPlan {
  /** `copy`: the server writes the CSV. `cursor`: it sends rows, and we do. */
  readonly source: "copy" | "cursor"
  /** What is read one after the other, each in parts of its own; none: the dataset's query as it is, in one part. */
  readonly scans: ReadonlyArray<Scan>
  /** Instead of scans: a table in the order of its key. */
  readonly keys?: KeyRanges
  /** How many parts that makes. */
  readonly parts: number
  /** Why it is one part, or how it is split. */
  readonly reason: string
  /** Rows that the planner expects, and bytes of each in memory. */
  readonly estimatedRows: number
  readonly rowWidth: number
}

/** A relation read in parts of `pagesPerPart` pages of its `pages`; in one part when that is undefined. */
interface Scan extends Identity {
  readonly pages: number
  readonly pagesPerPart: number | undefined
}

/** The dataset's table, or a partition of it, as the catalog has it. */
export interface Relation extends Identity {
  /** Its pages can be asked for: a heap, on a server that knows TID range scans (PostgreSQL 14). */
  readonly paged: boolean
  /** Read by its own name it shows the same rows as through the dataset: a table, no row security, no inheritance, a privilege. */
  readonly direct: boolean
  readonly foreign: boolean
  readonly pages: number
  /** TOAST included. */
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
  readonly source: "copy" | "cursor"
  /** The reason if the export must be one part. */
  readonly onePart?: string | undefined
  /** Connections that the export may have. */
  readonly connections: number
  /** Bytes of CSV that a part should make. */
  readonly partBytes: number
  /** Pages that a part reads at most, however few bytes come of them: it may have to be read again. */
  readonly partPages: number
}

const identityOf = ({ schema, table, oid, root }: Relation): Identity => ({ schema, table, oid, root })

/** Fewer are not worth another connection. */
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
  /** Of the key that the export is sorted by, if it is: values with as many rows between each two. */
  histogram: ReadonlyArray<bigint> = []
): ExportPlan => {
  const root = explained!.Plan
  const expected = {
    estimatedRows: Math.min(root["Plan Rows"], spec.total ?? Number.MAX_SAFE_INTEGER),
    rowWidth: root["Plan Width"]
  }
  const onePart = (reason: string): ExportPlan => ({ source: settings.source, scans: [], parts: 1, reason, ...expected })
  if (settings.source === "cursor") return onePart("a cursor reads in one part")
  if (settings.onePart !== undefined) return onePart(settings.onePart)
  if (settings.connections === 1) return onePart("one connection")
  if (spec.total !== undefined) return onePart("a total")

  const keys = keyRanges(spec, root, relations, settings, histogram)
  if (keys) {
    const parts = keys.splitPoints.length + 1
    if (parts < LEAST_PARTS) return onePart("small")
    return { source: "copy", scans: [], keys, parts, reason: "ranges of its key", ...expected }
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
    // Two connections to a foreign server would see two moments of it.
    if (relation.foreign) return onePart(`${path} is foreign`)
    if (!relation.direct) return onePart(`${path} shows other rows by itself`)
    const split = node["Node Type"] === "Seq Scan" && relation.paged
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
    source: "copy",
    scans,
    parts,
    reason: scans.length > 1 ? "partitions and ranges of pages" : "ranges of pages",
    ...expected
  }
}

/** In the order of its key, if the planner reads it by an index: where it would rather sort, each range might be a scan of the whole. */
const keyRanges = (
  { order, columns }: ExportSpec,
  root: PlanNode,
  relations: ReadonlyArray<Relation>,
  { partBytes }: PlanSettings,
  histogram: ReadonlyArray<bigint>
): KeyRanges | undefined => {
  const [[relation, ...others], [first]] = [relations, order]
  const isAlone = relation !== undefined && others.length === 0 && relation.direct && !relation.foreign
  if (!first || histogram.length === 0 || !isAlone || !root["Node Type"].startsWith("Index")) return undefined
  const rowsPerPart = partBytes / (root["Plan Width"] + columns.length)
  const splitPoints = splitPointsOf(histogram, Math.ceil(root["Plan Rows"] / rowsPerPart))
  return { ...identityOf(relation), column: first.column, descending: first.descending, splitPoints }
}

const article = (nodeType: string) => `${/^[AEIO]/.test(nodeType) ? "an" : "a"} ${nodeType}`

const partCount = ({ pages, pagesPerPart = Number.POSITIVE_INFINITY }: Scan) => Math.max(1, Math.ceil(pages / pagesPerPart))

const pagesPerPart = (node: PlanNode, { pages, bytes }: Relation, { partBytes, partPages }: PlanSettings): number => {
  const rowsPerPage = node["Plan Rows"] / Math.max(1, pages)
  // The planner's width leaves TOAST out; what is stored splitPoints it from the other side.
  const csvBytesPerPage = Math.max(1, rowsPerPage * node["Plan Width"], bytes / Math.max(1, pages) - PAGE_BYTES)
  return Math.min(partPages, Math.max(1, Math.round(partBytes / csvBytesPerPage)))
}

/** PostgreSQL's usual one; here it only tells heap from TOAST. */
const PAGE_BYTES = 8192

/** The parts of a plan in the order of the file, one at a time: a large table has hundreds of thousands. */
export function* partsOf({ scans, keys }: ExportPlan): Generator<Part | undefined> {
  if (keys) yield* keyParts(keys)
  else if (scans.length === 0) yield undefined
  for (const { pages, pagesPerPart: step, ...relation } of scans) {
    if (step === undefined) yield relation
    // The last range is open: nothing visible lies beyond the pages counted, but nothing is lost by looking.
    else
      for (let from = 0; from === 0 || from < pages; from += step) {
        yield { ...relation, pages: { from, to: from + step < pages ? from + step : undefined } }
      }
  }
}
