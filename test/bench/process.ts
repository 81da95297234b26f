/** Processes, and what the system tells of them. */
import { readFileSync } from "node:fs"
import { Effect, Schedule, type Scope } from "effect"
import { BenchError, toBenchError } from "./case.ts"

type Command = readonly [string, ...ReadonlyArray<string>]
type Environment = Readonly<Record<string, string>>

const POLL = "20 millis"
const MEGABYTE = 1_000_000
/** Of `/proc/<pid>/stat`; `getconf CLK_TCK` is 100 on every Linux. */
const TICKS_PER_SECOND = 100

/**
 * Highest resident memory so far, or 0 when the process is gone or this is no Linux. `getrusage` would not do: its
 * maximum starts with the size of the process that forked.
 */
const peakMbOf = (pid: number): number => {
  try {
    return (Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024) / MEGABYTE
  } catch {
    return 0
  }
}

/** User and system time of all its threads, in steps of 10 ms. */
const cpuSecondsOf = (pid: number): number => {
  // The fields after the name, which may hold anything, in parentheses: utime and stime are the 14th and 15th of all.
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ")
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** A process that is killed with the scope, if it still runs. */
export const spawn = (command: Command, env: Environment = {}) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => Bun.spawn([...command], { env: { PATH: process.env["PATH"], ...env }, stdout: "pipe", stderr: "inherit" }),
      catch: toBenchError(`run ${command[0]}`)
    }),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return child.exited
      })
  )

interface Finished {
  readonly output: string
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMb: number
}

/** Runs a program to its end, and fails unless it exits with 0. */
export const runProcess = (command: Command, env: Environment = {}): Effect.Effect<Finished, BenchError, Scope.Scope> =>
  Effect.gen(function* () {
    const start = performance.now()
    const child = yield* spawn(command, env)
    let peakMb = 0
    const look = Effect.sync(() => (peakMb = Math.max(peakMb, peakMbOf(child.pid))))
    yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(POLL)))
    const output = yield* Effect.promise(() => child.stdout.text())
    const code = yield* Effect.promise(() => child.exited)
    const seconds = (performance.now() - start) / 1000
    if (code !== 0) return yield* new BenchError({ message: `Cannot measure: ${command[0]} exited with ${code}` })
    const usage = child.resourceUsage()!
    return { output, seconds, cpuSeconds: Number(usage.cpuTime.total) / 1e6, peakMb: peakMb || usage.maxRSS / MEGABYTE }
  })

/** Adds what another process, which serves, took of the machine meanwhile. */
export const watching = <A, E, R>(pid: number, use: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = cpuSecondsOf(pid)
    const value = yield* use
    return { ...value, cpuSeconds: cpuSecondsOf(pid) - before, peakMb: peakMbOf(pid) }
  })
