import { columnAt, type Column, type Columns } from "../column.ts"
import { takePath, type Path } from "./json-path.ts"
import { Scanner } from "../scanner.ts"

/** The name that a filter is written for: a column, which may be in double quotes, and a path in its values. */
export interface FieldName {
  readonly name: string
  readonly path: Path | undefined
  /** The whole text, which may also be the name of a column. */
  readonly written: string
}

/** Matches the text before an arrow. */
const BEFORE_ARROW = /(?:(?!->)[^])+/uy

export const parseFieldName = (written: string): FieldName => {
  const plain = { name: written, path: undefined, written }
  const scanner = new Scanner(written)
  const name = scanner.takeQuoted("name") ?? scanner.take(BEFORE_ARROW)?.[0]
  const path = takePath(scanner)
  return name !== undefined && scanner.isAtEnd ? { name, path, written } : plain
}

/**
 * Returns the column at the path; if there is none, the column whose name is the whole text. A string says what is wrong.
 * `undefined` means that there is no such column among those that `isOffered`.
 */
export const findColumn = (
  { name, path, written }: FieldName,
  columns: Columns,
  isOffered: (column: Column) => boolean = () => true
): Column | string | undefined => {
  const offered = (key: string) => {
    const column = columns.get(key)
    return column && isOffered(column) ? column : undefined
  }
  const named = offered(name)
  const found = named && path ? columnAt(named, path) : named
  return typeof found === "object" ? found : (offered(written) ?? found)
}

/** Finds a column that may be filtered by. */
export const findFilterable = (field: FieldName, columns: Columns) => findColumn(field, columns, ({ filterable }) => filterable)
