/** What a run must reach: `--min` and `--max`. */
import type { Result } from "./report.ts"

export interface Bound {
  /** As it was given. */
  readonly text: string
  readonly kind: "min" | "max"
  readonly limit: number
  /** Undefined: this case has no such figure. */
  readonly figure: (results: ReadonlyArray<Result>) => number | undefined
  readonly decimals: number
}

const known = (names: ReadonlyArray<string>, name: string) => {
  if (!names.includes(name)) throw new Error(`there is no case ${JSON.stringify(name)} in this run, but ${names.join(", ")}`)
  return (results: ReadonlyArray<Result>) => results.find((result) => result.name === name)!
}

/** `cursor=450000` in rows per second, or `cursor/node=3` as a ratio of them. */
export const parseMinimum = (names: ReadonlyArray<string>, text: string): Bound => {
  const [, name, other, limit] = /^([\w-]+)(?:\/([\w-]+))?=(\d+(?:\.\d+)?)$/.exec(text) ?? []
  if (name === undefined) throw new Error(`--min ${text} is not allowed: give case=rows/s or case/case=ratio`)
  const base = { text: `--min ${text}`, kind: "min", limit: Number(limit) } as const
  const of = known(names, name)
  if (other === undefined) return { ...base, decimals: 0, figure: (results) => of(results).rowsPerSecond }
  const to = known(names, other)
  return { ...base, decimals: 2, figure: (results) => of(results).rowsPerSecond / to(results).rowsPerSecond }
}

const MAXIMUMS = ["peakMb", "cpuMicros", "firstByteMs"] as const

/** `post.peakMb=120` */
export const parseMaximum = (names: ReadonlyArray<string>, text: string): Bound => {
  const [, name = "", key = "", limit] = /^([\w-]+)\.(\w+)=(\d+(?:\.\d+)?)$/.exec(text) ?? []
  const figure = MAXIMUMS.find((one) => one === key)
  if (!figure) throw new Error(`--max ${text} is not allowed: give case.figure=number, a figure being ${MAXIMUMS.join(", ")}`)
  const of = known(names, name)
  return { text: `--max ${text}`, kind: "max", limit: Number(limit), decimals: 2, figure: (results) => of(results)[figure] }
}

/** The bounds that were missed, as sentences. */
export const missed = (results: ReadonlyArray<Result>, bounds: ReadonlyArray<Bound>): Array<string> =>
  bounds.flatMap(({ text, kind, limit, figure, decimals }) => {
    const reached = figure(results)
    if (reached === undefined) return [`missed ${text}: that is not measured of it`]
    const met = kind === "min" ? reached >= limit : reached <= limit
    return met ? [] : [`missed ${text}: it is ${reached.toFixed(decimals)}`]
  })
