/** What is measured: one export of the whole table by one program, in a process of its own. */
import { readFileSync } from "node:fs"

export interface Measurement {
  /** From connecting to the last byte; the start of the runtime does not count. */
  readonly seconds: number
  readonly rows: number
  readonly bytes: number
  /** User and system time of the process, its start included; not the server's. */
  readonly cpuSeconds: number
  readonly peakRssMb: number
}

export interface Case {
  readonly name: string
  readonly run: () => Promise<Measurement>
}

/** What a measured program prints as its last line of output, as JSON. */
export type Printed = Pick<Measurement, "seconds" | "rows" | "bytes">

export interface Finished {
  readonly output: string
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakRssMb: number
}

const POLL_MS = 20
const MEGABYTE = 1 << 20

/**
 * Highest resident memory so far, in MB, or 0 when the process is gone or this is no Linux. `getrusage` would not do:
 * its maximum starts with the size of the process that forked.
 */
const peakOf = (pid: number): number => {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

/** Runs a program to its end, and fails unless it exits with 0. */
export const runProcess = async (command: ReadonlyArray<string>, env: Readonly<Record<string, string>>): Promise<Finished> => {
  const start = performance.now()
  const child = Bun.spawn([...command], { env: { PATH: process.env["PATH"], ...env }, stdout: "pipe", stderr: "inherit" })
  let peakRssMb = 0
  const poll = setInterval(() => {
    peakRssMb = Math.max(peakRssMb, peakOf(child.pid))
  }, POLL_MS)
  const output = await child.stdout.text()
  const code = await child.exited
  const seconds = (performance.now() - start) / 1000
  clearInterval(poll)
  if (code !== 0) throw new Error(`Cannot measure: ${command[0]} exited with ${code}`)
  const usage = child.resourceUsage()!
  return {
    output,
    seconds,
    cpuSeconds: Number(usage.cpuTime.total) / 1e6,
    peakRssMb: peakRssMb || usage.maxRSS / MEGABYTE
  }
}
