import type { ExportSpec } from "../exports/export-spec.ts"
import { selectStatement, type Statement } from "./statement.ts"

/** How an export is read: its statement, and the rows that the planner expects. */
export interface RowPlan {
  readonly statement: Statement
  readonly estimatedRows: number
}

/** The one row that `explain (format json)` answers. */
export interface Explained {
  readonly "QUERY PLAN": ReadonlyArray<{ readonly Plan: { readonly "Plan Rows": number } }>
}

export const explainStatement = (spec: ExportSpec): Statement => {
  const { text, values } = selectStatement(spec)
  return { text: `explain (format json) ${text}`, values }
}

export const planRows = (spec: ExportSpec, [explained]: ReadonlyArray<Explained>): RowPlan => ({
  statement: selectStatement(spec),
  estimatedRows: Math.min(explained?.["QUERY PLAN"][0]?.Plan["Plan Rows"] ?? 0, spec.total ?? Number.POSITIVE_INFINITY)
})
