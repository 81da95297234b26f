/**
 * `bun run bench`: how fast the whole demo table becomes CSV, by the service and its parts, beside psql, Node and nginx.
 *
 *     BENCH_ROWS=2000000 BENCH_ROUNDS=3 BENCH_DATA_DIR= BENCH_JSON= bun run bench [--only psql,post,stream]
 *       [--min post/psql=1.5] [--min cursor=450000]
 *       [--max post.peakMb=120] [--max copy-2.cpuMicros=0.35] [--max stream.firstByteMs=50]
 *
 *     psql, psql-file                       \copy to /dev/null and to a file
 *     node-copy, node                       COPY, and rows made CSV, by usual packages on Node
 *     cursor, copy-1, copy-2, copy-4        the service's row source alone; the number is that of connections
 *     rfc4180, excel, excel-utf16           the same in another format, on two
 *     post                                  an export, from its POST until it is completed
 *     stream-1, stream, stream-gzip, -zstd  the direct stream, read by curl; stream-1 on one connection
 *     download, download-gzip               the file of a finished export, read by curl
 *     nginx, or else python                 the same file by another server
 *
 * One case runs after the other, each in processes of its own, in as many rounds, every other one backwards, and the
 * medians are told; so a slow moment of the machine meets all cases alike. Each finds what it reads in memory. Programs that the machine lacks are left out,
 * and without Linux's /proc all that serves. With BENCH_DATA_DIR the table is kept for the next time; BENCH_JSON names a
 * file for all figures. A missed bound, or wrong rows or bytes in any round, makes the exit code 1.
 */
import { seedUsers } from "../../src/postgres/demo-users.ts"
import { mkdtemp, rm } from "node:fs/promises"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import { Cause, Effect, Exit } from "effect"
import { startEmbeddedPostgres } from "../../src/embedded-postgres/embedded-postgres.ts"
import { missed, parseMaximum, parseMinimum } from "./thresholds.ts"
import { toBenchError, type Bench, type Case, type Measurement } from "./case.ts"
import { cases, casesNamed } from "./cases.ts"
import { buildRowsProgram } from "./programs.ts"
import { summarize, tableOf } from "./report.ts"
import { makeFinishedExport } from "./service-cases.ts"
import { copyBytes, dropLeftovers, warmTable } from "./table.ts"

const positive = (name: string, fallback: number): number => {
  const value = Number(process.env[name] || fallback)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${name}=${process.env[name]} is not allowed: a positive whole number`)
  return value
}

/** What this run is to do: from the command line and the environment. */
const readSettings = () => {
  const repeated = { type: "string", multiple: true } as const
  const { values } = parseArgs({ options: { only: { type: "string" }, min: repeated, max: repeated } })
  const chosen = values.only === undefined ? cases : casesNamed(values.only)
  const names = chosen.map(({ name }) => name)
  const minimums = (values.min ?? []).map((text) => parseMinimum(names, text))
  const maximums = (values.max ?? []).map((text) => parseMaximum(names, text))
  const [rows, rounds] = [positive("BENCH_ROWS", 2_000_000), positive("BENCH_ROUNDS", 3)]
  return { chosen, bounds: [...minimums, ...maximums], rows, rounds }
}

const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "sluice-bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** The seeded table, and what the cases share. */
const prepare = (rows: number) =>
  Effect.gen(function* () {
    const directory = yield* temporaryDirectory
    const { url } = yield* startEmbeddedPostgres(process.env["BENCH_DATA_DIR"] || join(directory, "data"))
    yield* dropLeftovers(url, rows)
    yield* seedUsers(url, rows)
    const storage = join(directory, "exports")
    const bench: Bench = {
      url,
      rows,
      bytes: yield* copyBytes(url),
      directory,
      storage,
      rowsProgram: yield* Effect.cached(buildRowsProgram(directory)),
      finishedExport: yield* Effect.cached(makeFinishedExport({ url, storage }))
    }
    return bench
  })

/** What a measured case did wrong, in a sentence. */
const mistakes = ({ rows, bytes }: Bench, { name, otherBytes = false }: Case, read: Measurement) =>
  read.rows === rows && (otherBytes || read.bytes === bytes)
    ? []
    : [`${name} gave ${read.rows} rows in ${read.bytes} bytes instead of ${rows}${otherBytes ? "" : ` in ${bytes}`}`]

const measure = (bench: Bench, chosen: ReadonlyArray<Case>, rounds: number) =>
  Effect.gen(function* () {
    const measurements = new Map<string, Array<Measurement>>(chosen.map(({ name }) => [name, []]))
    const wrong: Array<string> = []
    for (let round = 1; round <= rounds; round++) {
      for (const one of round % 2 === 1 ? chosen : chosen.toReversed()) {
        yield* warmTable(bench.url)
        const measurement = yield* Effect.scoped(one.run(bench))
        measurements.get(one.name)!.push(measurement)
        wrong.push(...mistakes(bench, one, measurement))
        console.error(`round ${round} of ${rounds}: ${one.name} ${measurement.seconds.toFixed(2)} s`)
      }
    }
    return { measurements, wrong }
  })

const main = Effect.gen(function* () {
  const { chosen, bounds, rows, rounds } = yield* Effect.try({ try: readSettings, catch: toBenchError("start the bench") })
  const bench = yield* prepare(rows)
  const { measurements, wrong } = yield* measure(bench, chosen, rounds)
  const results = summarize(measurements)
  const machine = { cpu: cpus()[0]?.model ?? "unknown", cpus: cpus().length, bun: Bun.version }
  console.log(`\n${rows.toLocaleString("en")} rows, ${rounds} rounds, ${machine.cpus} x ${machine.cpu}, Bun ${machine.bun}\n`)
  console.log(tableOf(results))
  const failures = [...wrong, ...missed(results, bounds)]
  for (const failure of failures) console.error(failure)
  if (failures.length > 0) process.exitCode = 1
  const path = process.env["BENCH_JSON"]
  const report = { rows, rounds, machine, results, failures, measurements: Object.fromEntries(measurements) }
  if (path) yield* Effect.promise(() => Bun.write(path, JSON.stringify(report, null, 2)))
})

main.pipe(
  Effect.scoped,
  Effect.tapErrorCause((cause) =>
    Effect.sync(() => {
      const failure = Cause.failureOption(cause)
      if (failure._tag === "Some") console.error(failure.value.message)
      else if (!Cause.isInterruptedOnly(cause)) console.error(Cause.pretty(cause))
    })
  ),
  BunRuntime.runMain({
    disableErrorReporting: true,
    // A run that was broken off has not reached its bounds.
    teardown: (exit, end) => end(Exit.isSuccess(exit) ? Number(process.exitCode ?? 0) : 1)
  })
)
