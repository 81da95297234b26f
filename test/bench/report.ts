import type { Measurement } from "./case.ts"

const YARDSTICKS = new Set(["psql", "node"])

/** The medians of one case. Ratios are of rows per second, to the yardsticks that were measured too. */
export interface Result extends Measurement {
  readonly name: string
  readonly rowsPerSecond: number
  readonly mbPerSecond: number
  readonly ratios: Readonly<Record<string, number>>
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const summarize = (measurements: ReadonlyMap<string, ReadonlyArray<Measurement>>): Array<Result> => {
  const medians = [...measurements].map(([name, runs]) => {
    const of = (key: keyof Measurement) => median(runs.map((run) => run[key]))
    const [seconds, rows, bytes] = [of("seconds"), of("rows"), of("bytes")]
    const rates = { rowsPerSecond: rows / seconds, mbPerSecond: bytes / seconds / 1e6 }
    return { name, seconds, rows, bytes, cpuSeconds: of("cpuSeconds"), peakRssMb: of("peakRssMb"), ...rates }
  })
  const yardsticks = medians.filter(({ name }) => YARDSTICKS.has(name))
  return medians.map((result) => ({
    ...result,
    ratios: Object.fromEntries(yardsticks.map(({ name, rowsPerSecond }) => [name, result.rowsPerSecond / rowsPerSecond]))
  }))
}

export const tableOf = (results: ReadonlyArray<Result>): string => {
  const yardsticks = Object.keys(results[0]?.ratios ?? {})
  const head = ["case", "seconds", "rows/s", "MB/s", "CPU s", "peak MB", ...yardsticks.map((name) => `x ${name}`)]
  const lines = results.map((result) => [
    result.name,
    result.seconds.toFixed(2),
    Math.round(result.rowsPerSecond).toLocaleString("en"),
    result.mbPerSecond.toFixed(1),
    result.cpuSeconds.toFixed(2),
    result.peakRssMb.toFixed(0),
    ...yardsticks.map((name) => result.ratios[name]!.toFixed(2))
  ])
  const all = [head, ...lines]
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]!.length)))
  const pad = (cell: string, column: number) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))
  return all.map((line) => line.map(pad).join("  ")).join("\n")
}

/** A wanted speed: `cursor=450000` in rows per second, or `cursor/node=3` as their ratio. */
export interface Minimum {
  readonly text: string
  readonly name: string
  readonly other: string | undefined
  readonly least: number
}

export const parseMinimum = (text: string, names: ReadonlyArray<string>): Minimum => {
  const [, name = "", other, least] = /^([\w-]+)(?:\/([\w-]+))?=(\d+(?:\.\d+)?)$/.exec(text) ?? []
  const unknown = [name, other ?? name].find((one) => !names.includes(one))
  if (unknown !== undefined)
    throw new Error(`Cannot check --min ${text}: give case=rows/s or case/case=ratio; cases here are ${names.join(", ")}`)
  return { text, name, other, least: Number(least) }
}

/** The minimums that were missed, as sentences. */
export const missed = (results: ReadonlyArray<Result>, minimums: ReadonlyArray<Minimum>): Array<string> => {
  const speed = (name: string) => results.find((result) => result.name === name)!.rowsPerSecond
  return minimums.flatMap(({ text, name, other, least }) => {
    const reached = speed(name) / (other === undefined ? 1 : speed(other))
    return reached < least ? [`missed --min ${text}: it is ${reached.toFixed(other === undefined ? 0 : 2)}`] : []
  })
}
