/** Parts of a file of numbered rows, read by a leader and its readers. */
import { expect } from "bun:test"
import { limits } from "../../../src/limits.ts"
import { CopyBytes } from "../../../src/read/copy/copy-bytes.ts"
import type { FurtherReader, Leader } from "../reading.fixture.ts"
import { rest, layoutOf } from "../tables.fixture.ts"

/** A part of rows of 1 kB: how many, and before which of them there is the gate with the part's number. */
interface Part {
  readonly rows: number
  readonly gate?: number
}

/** COPY statements of parts whose rows are numbered on, and the file of all of them. */
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

/** More than a socket holds and a further reader may read ahead. */
export const HUGE = 40_000
export const sourceOf = (leader: Leader, readers: ReadonlyArray<unknown>, statements: ReadonlyArray<string>) => {
  const lookAhead = readers.length * limits.extraReaderBytes
  return new CopyBytes(leader.connection, layoutOf(["n"]), statements.values(), 0, 16_384, lookAhead)
}

/** Reads parts, the first by the leader, the next by the first further reader, and so on. */
export const begin = (leader: Leader, readers: ReadonlyArray<FurtherReader>, ...parts: ReadonlyArray<Part>) => {
  const { statements, rows, file } = numberedParts(parts)
  const source = sourceOf(leader, readers, statements)
  const ended = readers.map(({ read }) => read(source))
  /** Reads on to the end, and compares the whole file, of which `before` was read. */
  const isWhole = async (before: Buffer = Buffer.alloc(0)) => {
    const all = Buffer.concat([before, await rest(source)])
    expect(all.equals(file())).toBe(true)
    expect(source.rows).toBe(rows)
  }
  return { source, ended, isWhole }
}
