/** Parts of a file with numbered rows, which a leader and further readers read. */
import { expect } from "bun:test"
import { limits } from "../../../src/limits.ts"
import { CopyBytes } from "../../../src/read/copy/copy-bytes.ts"
import type { FurtherReader, Leader } from "../reading.fixture.ts"
import { rest, layoutOf } from "../tables.fixture.ts"

/** A part of rows of 1 kB: how many there are, and before which row the gate with the number of the part stands. */
interface Part {
  readonly rows: number
  readonly gate?: number
}

/** Returns the COPY statements of parts whose rows are numbered throughout, and the file of all parts. */
export const numberedParts = (parts: ReadonlyArray<Part>) => {
  let last = 0
  const statements = parts.map(({ rows, gate = 0 }, part) => {
    const from = last + 1
    last += rows
    const passing = `case when n = ${from + gate - 1} then pass_gate(${part}) else '' end`
    return `copy (select repeat('x', 1000) || n || ${passing} from generate_series(${from}, ${last}) n) to stdout (format csv)`
  })
  const filler = "x".repeat(1000)
  const file = () => Buffer.from(["n", ...Array.from({ length: last }, (_, row) => filler + (row + 1)), ""].join("\n"))
  return { statements, rows: last, file }
}

/** More than fits into a socket and a further reader may read ahead. */
export const HUGE = 40_000
export const sourceOf = (leader: Leader, readers: ReadonlyArray<unknown>, statements: ReadonlyArray<string>) => {
  const lookAhead = readers.length * limits.extraReaderBytes
  return new CopyBytes(leader.connection, layoutOf(["n"]), statements.values(), 0, 16_384, lookAhead)
}

/** Reads parts: the leader reads the first one, the first further reader the second one, and so on. */
export const begin = (leader: Leader, readers: ReadonlyArray<FurtherReader>, ...parts: ReadonlyArray<Part>) => {
  const { statements, rows, file } = numberedParts(parts)
  const source = sourceOf(leader, readers, statements)
  const ended = readers.map(({ read }) => read(source))
  /** Reads on to the end, and compares the complete file, which begins with `before`. */
  const isWhole = async (before: Buffer = Buffer.alloc(0)) => {
    const all = Buffer.concat([before, await rest(source)])
    expect(all.equals(file())).toBe(true)
    expect(source.rows).toBe(rows)
  }
  return { source, ended, isWhole }
}
