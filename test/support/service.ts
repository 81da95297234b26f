/** A Sluice in a process of its own, as `bun run server` starts it. */
import { readFileSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import type { Limits } from "./limits.ts"
import { bunFlags, heapSettings } from "./runtime.ts"
import { freshDatabase, inScope, serverBundle, temporaryDirectory } from "./shared-service.ts"
import { until } from "./until.ts"

/** Lists the names of the files in a storage, whichever folder they are in. */
export const storedFiles = async (storage: string): Promise<Array<string>> =>
  (await readdir(storage, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ name }) => name)

export interface Service {
  readonly url: string
  readonly pid: number
  readonly database: string
  /** Where the export files are. */
  readonly storage: string
  /** All log lines so far. */
  readonly log: () => ReadonlyArray<{ message: unknown; logLevel: string; annotations: Record<string, unknown> }>
  readonly signal: (signal: NodeJS.Signals) => void
  /** The exit code, once the service has ended. */
  readonly exited: Promise<number>
  /** Sends SIGTERM, and returns the exit code. */
  readonly stop: () => Promise<number>
}

interface Options {
  readonly limits?: Limits
  readonly bundle?: string
}

/**
 * Starts a service on a free port, with a fresh database unless `env` names one, and waits until it listens. `limits`
 * hold in place of those of `src/limits.ts`; `bundle` is run instead of that of this checkout.
 */
export const startService = async (env: Record<string, string> = {}, { limits, bundle }: Options = {}): Promise<Service> => {
  const storage = env["EXPORT_STORAGE_PATH"] ?? (await temporaryDirectory())
  const database = env["DATABASE_URL"] ?? (await freshDatabase())
  const logPath = join(await temporaryDirectory(), "log")
  const program = bundle ?? (await serverBundle())
  const preload = limits ? ["--preload", Bun.fileURLToPath(import.meta.resolve("./limits-preload.ts"))] : []
  const run = () =>
    Bun.spawn([process.execPath, ...bunFlags, ...preload, program], {
      cwd: join(import.meta.dir, "../.."),
      env: {
        PATH: process.env["PATH"],
        ...heapSettings,
        PORT: "0",
        LOG_FORMAT: "json",
        DATABASE_URL: database,
        EXPORT_DATASETS: "public.users",
        EXPORT_STORAGE_PATH: storage,
        ...(limits ? { SLUICE_TEST_LIMITS: JSON.stringify(limits) } : {}),
        ...env
      },
      stdin: "ignore",
      // The output is no pipe: Bun was seen to stop reading one, and then the service waits until it can write its log.
      stdout: Bun.file(logPath),
      stderr: "inherit"
    })
  // A service that a failed test leaves behind would keep the output of the whole run open.
  const kill = (child: ReturnType<typeof run>) => Effect.sync(() => child.kill("SIGKILL"))
  const child = await inScope(Effect.acquireRelease(Effect.sync(run), kill))
  const lines = () => readFileSync(logPath, "utf8").split("\n").slice(0, -1)
  const url = await until(
    "the service to listen",
    () => {
      const found = /listening on (\S+?)\/?"/.exec(lines().join("\n"))?.[1]
      if (found === undefined && child.exitCode !== null)
        throw new Error(`the service ended before it listened: ${lines().join("\n")}`)
      return found
    },
    60_000
  )
  return {
    url,
    pid: child.pid,
    database,
    storage,
    log: () => lines().map((line) => JSON.parse(line)),
    signal: (signal) => child.kill(signal),
    exited: child.exited,
    stop: () => {
      child.kill("SIGTERM")
      return child.exited
    }
  }
}
