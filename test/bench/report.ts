import type { Measurement } from "./case.ts"

const YARDSTICKS = new Set(["psql", "node"])

/** The medians of one case. Ratios are of rows per second, to the yardsticks that were measured too. */
export interface Result extends Measurement {
  readonly name: string
  readonly rowsPerSecond: number
  readonly mbPerSecond: number
  /** CPU time per row. */
  readonly cpuMicros: number
  readonly ratios: Readonly<Record<string, number>>
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const summarize = (measurements: ReadonlyMap<string, ReadonlyArray<Measurement>>): Array<Result> => {
  const medians = [...measurements].map(([name, runs]) => {
    const of = (key: "seconds" | "rows" | "bytes" | "cpuSeconds" | "peakMb") => median(runs.map((run) => run[key]))
    const [seconds, rows, bytes, cpuSeconds] = [of("seconds"), of("rows"), of("bytes"), of("cpuSeconds")]
    const firstBytes = runs.flatMap(({ firstByteMs }) => firstByteMs ?? [])
    const figures = { name, seconds, rows, bytes, cpuSeconds, peakMb: of("peakMb") }
    const rates = { rowsPerSecond: rows / seconds, mbPerSecond: bytes / seconds / 1e6, cpuMicros: (cpuSeconds / rows) * 1e6 }
    return { ...figures, ...rates, ...(firstBytes.length > 0 && { firstByteMs: median(firstBytes) }) }
  })
  const yardsticks = medians.filter(({ name }) => YARDSTICKS.has(name))
  return medians.map((result) => ({
    ...result,
    ratios: Object.fromEntries(yardsticks.map(({ name, rowsPerSecond }) => [name, result.rowsPerSecond / rowsPerSecond]))
  }))
}

const NOTE = `MB are 10^6 bytes. MB/s counts the bytes that came over the wire, which a coding makes fewer; rows/s their rows.
CPU and peak memory are those of the program, or of the server that was asked: never those of PostgreSQL or curl.`

export const tableOf = (results: ReadonlyArray<Result>): string => {
  const yardsticks = Object.keys(results[0]?.ratios ?? {})
  const figures = ["seconds", "rows/s", "MB/s", "CPU s", "CPU µs/row", "peak MB", "first byte ms"]
  const head = ["case", ...figures, ...yardsticks.map((name) => `x ${name}`)]
  const lines = results.map((result) => [
    result.name,
    result.seconds.toFixed(2),
    Math.round(result.rowsPerSecond).toLocaleString("en"),
    result.mbPerSecond.toFixed(1),
    result.cpuSeconds.toFixed(2),
    result.cpuMicros.toFixed(3),
    result.peakMb.toFixed(1),
    result.firstByteMs?.toFixed(1) ?? "",
    ...yardsticks.map((name) => result.ratios[name]!.toFixed(2))
  ])
  const all = [head, ...lines]
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]!.length)))
  const pad = (cell: string, column: number) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))
  return `${all.map((line) => line.map(pad).join("  ").trimEnd()).join("\n")}\n\n${NOTE}`
}
