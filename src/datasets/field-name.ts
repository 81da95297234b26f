import type { Column } from "./dataset.ts"
import { columnAt, takePath, type Path } from "./json-path.ts"
import { QUOTED_NAME, Scanner, unescape } from "./scanner.ts"

/** What a filter is on, as written: a column, which may be in double quotes, and a path in its values. */
export interface FieldName {
  readonly name: string
  readonly path: Path | undefined
  /** All of it, which may be the name of a column as it stands. */
  readonly written: string
}

/** Up to an arrow. */
const BEFORE_ARROW = /(?:(?!->)[^])+/uy

export const parseFieldName = (written: string): FieldName => {
  const plain = { name: written, path: undefined, written }
  const scanner = new Scanner(written)
  const quoted = scanner.take(QUOTED_NAME)?.[1]
  const name = quoted === undefined ? scanner.take(BEFORE_ARROW)?.[0] : unescape(quoted)
  const path = takePath(scanner)
  return name !== undefined && scanner.isAtEnd ? { name, path, written } : plain
}

/**
 * The column that a name stands for, with its path. A name that is a column's as it stands is that column, whatever signs
 * it holds, unless it is read as another's. A text says what is wrong with a path; undefined: there is no such column.
 */
export const findColumn = ({ name, path, written }: FieldName, columns: ReadonlyArray<Column>): Column | string | undefined => {
  const named = columns.find((column) => column.name === name)
  const found = named && path ? columnAt(named, path) : named
  return typeof found === "object" ? found : (columns.find((column) => column.name === written) ?? found)
}
