/**
 * `bun run bench`: how fast the whole demo table becomes CSV, against `psql \copy` and a usual Node pipeline.
 *
 *     BENCH_ROWS=2000000 BENCH_ROUNDS=3 BENCH_DATA_DIR= BENCH_JSON= bun run bench [--min cursor/node=3] [--min cursor=450000]
 *
 * Each case runs in a process of its own, one after the other, in as many rounds, and the medians are told; so a slow
 * moment of the machine meets all cases alike. With BENCH_DATA_DIR the table is kept for the next time. A missed
 * minimum makes the exit code 1.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import { Effect } from "effect"
import postgres from "postgres"
import { seedUsers } from "../../seeds/users.ts"
import { startEmbeddedPostgres } from "../../src/postgres/embedded.ts"
import type { Case, Measurement } from "./case.ts"
import { casesOf } from "./cases.ts"
import { missed, parseMinimum, summarize, tableOf } from "./report.ts"

const positive = (name: string, fallback: number): number => {
  const value = Number(process.env[name] || fallback)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${name}=${process.env[name]} is not allowed: a positive whole number`)
  return value
}

/** Drops the table when an earlier run left it with another number of rows; seeding skips it otherwise. */
const dropOther = async (url: string, rows: number): Promise<void> => {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const [found] = await sql`select to_regclass('public.users') is not null as seeded`
  if (found!["seeded"] && (await sql`select count(*)::int as rows from public.users`)[0]!["rows"] !== rows) {
    await sql`drop table public.users`
  }
  await sql.end()
}

const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "sluice-bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const measure = async (cases: ReadonlyArray<Case>, rounds: number) => {
  const measurements = new Map<string, Array<Measurement>>(cases.map(({ name }) => [name, []]))
  for (let round = 1; round <= rounds; round++) {
    for (const { name, run } of cases) {
      const measurement = await run()
      measurements.get(name)!.push(measurement)
      console.error(`round ${round} of ${rounds}: ${name} ${measurement.seconds.toFixed(2)} s`)
    }
  }
  return measurements
}

const bench = Effect.gen(function* () {
  const { min = [] } = parseArgs({ options: { min: { type: "string", multiple: true } } }).values
  const [rows, rounds] = [positive("BENCH_ROWS", 2_000_000), positive("BENCH_ROUNDS", 3)]
  const directory = yield* temporaryDirectory
  const { url } = yield* startEmbeddedPostgres(process.env["BENCH_DATA_DIR"] || join(directory, "data"))
  const cases = casesOf(url, directory)
  const minimums = min.map((text) =>
    parseMinimum(
      text,
      cases.map(({ name }) => name)
    )
  )
  yield* Effect.promise(() => dropOther(url, rows))
  yield* seedUsers(url, rows)

  const measurements = yield* Effect.promise(() => measure(cases, rounds))
  const results = summarize(measurements)
  const machine = { cpu: cpus()[0]?.model ?? "unknown", cpus: cpus().length, bun: Bun.version }
  console.log(`\n${rows.toLocaleString("en")} rows, ${rounds} rounds, ${machine.cpus} x ${machine.cpu}, Bun ${machine.bun}\n`)
  console.log(tableOf(results))
  const wrong = results.filter((result) => result.rows !== rows).map(({ name, rows: read }) => `${name} read ${read} rows`)
  const failures = [...wrong, ...missed(results, minimums)]
  for (const failure of failures) console.error(failure)
  if (failures.length > 0) process.exitCode = 1
  const path = process.env["BENCH_JSON"]
  if (path) yield* Effect.promise(() => Bun.write(path, JSON.stringify({ rows, rounds, machine, results, failures }, null, 2)))
})

bench.pipe(Effect.scoped, BunRuntime.runMain)
