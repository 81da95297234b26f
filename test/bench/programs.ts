/** Programs that read the database themselves. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { heapSettings } from "../support/runtime.ts"
import { toBenchError, type Bench, type Case, type Printed } from "./case.ts"
import { runProcess } from "./process.ts"

const measured = (...command: Parameters<typeof runProcess>) =>
  runProcess(...command).pipe(
    Effect.map(({ output, cpuSeconds, peakMb }) => ({ ...(JSON.parse(output) as Printed), cpuSeconds, peakMb }))
  )

/** libpq's settings for a URL: a password does not belong on a command line. */
const libpq = (url: string) => {
  const { hostname, port, username, password, pathname } = new URL(url)
  return { PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: password, PGDATABASE: pathname.slice(1) }
}

/** `psql \copy`, the yardstick. It does not tell its bytes; they are those of every COPY. */
const psqlTo = (target: string, { url, bytes }: Bench) =>
  runProcess(
    ["psql", "--no-psqlrc", "--command", `\\copy (select * from users) to '${target}' (format csv, header)`],
    libpq(url)
  ).pipe(Effect.map(({ output, ...finished }) => ({ ...finished, rows: Number(output.replace("COPY ", "")), bytes })))

const psql: Case = { name: "psql", run: (bench) => psqlTo("/dev/null", bench) }

const psqlFile: Case = {
  name: "psql-file",
  run: (bench) =>
    Effect.acquireRelease(Effect.succeed(join(bench.directory, "psql.csv")), (path) =>
      Effect.promise(() => rm(path, { force: true }))
    ).pipe(Effect.flatMap((path) => psqlTo(path, bench)))
}

const node = (name: string, program: string, otherBytes = false): Case => ({
  name,
  otherBytes,
  run: ({ url }) => measured(["node", fileURLToPath(program)], { DATABASE_URL: url })
})

/** rows-program.ts as the service is built: one minified bundle. */
export const buildRowsProgram = (directory: string) =>
  Effect.tryPromise({
    try: async () => {
      const entrypoints = [fileURLToPath(import.meta.resolve("./rows-program.ts"))]
      const { outputs } = await Bun.build({ entrypoints, target: "bun", minify: true, outdir: directory })
      return outputs[0]!.path
    },
    catch: toBenchError("build rows-program.ts")
  })

/** The row source as the service runs it, under the `server` script's heap settings. */
const rows = (name: string, settings: Readonly<Record<string, string>>): Case => ({
  name,
  otherBytes: "BENCH_PROFILE" in settings,
  run: ({ url, rowsProgram }) =>
    Effect.flatMap(rowsProgram, (bundle) =>
      measured([process.execPath, bundle], { DATABASE_URL: url, EXPORT_DATASETS: "public.users", ...heapSettings, ...settings })
    )
})

const copy = (connections: number): Case =>
  rows(`copy-${connections}`, { EXPORT_SOURCE: "copy", EXPORT_PARALLELISM: String(connections) })

/** Those that this machine can run. */
export const programCases: ReadonlyArray<Case> = [
  ...(Bun.which("psql") ? [psql, psqlFile] : []),
  ...(Bun.which("node")
    ? [node("node-copy", import.meta.resolve("./node-copy.mjs")), node("node", import.meta.resolve("./node-pipeline.mjs"), true)]
    : []),
  rows("cursor", { EXPORT_SOURCE: "cursor" }),
  copy(1),
  copy(2),
  copy(4),
  ...["rfc4180", "excel", "excel-utf16"].map((profile) => rows(profile, { EXPORT_PARALLELISM: "2", BENCH_PROFILE: profile }))
]
