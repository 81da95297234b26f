import type { Path } from "./filters/json-path.ts"

/** A column of a dataset. */
export interface Column {
  readonly name: string
  /** PostgreSQL's `attnum`, which a column keeps when it is renamed. */
  readonly number: number
  /** The type as PostgreSQL writes it: `numeric(12,2)`. */
  readonly type: string
  /** The type without its domains and its modifier, as PostgreSQL writes it: values to compare with are cast to it. */
  readonly base: string
  /** PostgreSQL's `typcategory` of `base`. */
  readonly category: string
  /** Whether values can be compared and sorted. */
  readonly ordered: boolean
  readonly nullable: boolean
  readonly comment: string | null
  /** The name of the column in a header with labels. */
  readonly label: string
  readonly filterable: boolean
  /**
   * The path in the column's values, if it stands for one; `type`, `base` and `category` are then those of the value at
   * the path.
   */
  readonly path?: Path
  /** Whether the values are converted to JSON before the path is followed. */
  readonly madeJson?: boolean
}

/** Columns by name, in their order. */
export type Columns = ReadonlyMap<string, Column>
export const byName = (columns: ReadonlyArray<Column>): Columns => new Map(columns.map((column) => [column.name, column]))

/** Says whether a column has strings, which `like` works on. */
export const isString = ({ base, category }: Pick<Column, "base" | "category">): boolean => category === "S" || base === '"char"'

/** Says whether `quote=text` quotes a column: its values are neither numbers, truth values nor times. */
export const isText = ({ category }: Pick<Column, "category">): boolean => !"NBDT".includes(category)

/** The largest position in an array that PostgreSQL accepts. */
const MOST = 2_147_483_647

/** Returns the type in which the paths of a column begin. Arrays and composite values are converted to JSON. */
export const jsonTypeOf = ({ base, category }: Pick<Column, "base" | "category">): "json" | "jsonb" | undefined =>
  base === "json" ? "json" : base === "jsonb" || category === "A" || category === "C" ? "jsonb" : undefined

/** Returns the values at a path in a column as a column. A string says why there can be none. */
export const columnAt = (column: Column, path: Path): Column | string => {
  const json = jsonTypeOf(column)
  if (!json) return `${column.name} is of type ${column.type}, and only JSON, arrays and composite values have paths`
  if (path.slice(0, -1).some(({ arrow }) => arrow === "->>")) return "only the last arrow of a path can be ->>"
  if (path.some(({ key }) => typeof key === "number" && Math.abs(key) > MOST)) return `a position is at most ${MOST}`
  const type = path.at(-1)!.arrow === "->>" ? "text" : json
  return {
    ...column,
    path,
    madeJson: column.base !== json,
    type,
    base: type,
    category: type === "text" ? "S" : "U",
    ordered: type !== "json",
    nullable: true,
    label: pathName(column.name, path)
  }
}

/** Returns the name of the values at a path in a header: the path's last key, as in PostgREST. */
const pathName = (column: string, path: Path): string => {
  const key = path.findLast((step) => typeof step.key === "string")?.key
  return typeof key === "string" ? key : column
}
