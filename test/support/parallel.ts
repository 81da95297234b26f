/**
 * Runs the tests in two processes at once, each on an embedded PostgreSQL of its own, with the longest files first. Takes the
 * arguments of `bun test`: with `--update-timings` it writes down how long each file takes.
 */
import { join } from "node:path"
import { closeShared, prepare } from "./shared-service.ts"

const PROCESSES = 2
const TIMEOUT_MS = 60_000

const environment = await prepare(PROCESSES)
const tests = Bun.spawn(
  [
    process.execPath,
    "test",
    `--parallel=${PROCESSES}`,
    "--no-isolate",
    "--no-orphans",
    // In the files after a process's first one, setDefaultTimeout of the preload no longer holds.
    `--timeout=${TIMEOUT_MS}`,
    `--timings=${join(import.meta.dir, "timings.json")}`,
    ...process.argv.slice(2)
  ],
  { env: { ...process.env, ...environment }, stdin: "ignore", stdout: "inherit", stderr: "inherit" }
)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => tests.kill(signal))
const code = await tests.exited
await closeShared()
process.exit(code)
