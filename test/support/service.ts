/** A Sluice in a process of its own, as `bun run server` starts it. */
import { join } from "node:path"
import { bunFlags, heapSettings } from "./runtime.ts"
import { freshDatabase, serverBundle, temporaryDirectory } from "./shared.ts"

export interface Service {
  readonly url: string
  readonly pid: number
  readonly database: string
  /** Where the export files are. */
  readonly storage: string
  /** All log lines so far. */
  readonly log: () => ReadonlyArray<{ message: unknown; logLevel: string; annotations: Record<string, unknown> }>
  readonly signal: (signal: NodeJS.Signals) => void
  /** The exit code, once it has ended. */
  readonly exited: Promise<number>
  /** SIGTERM, and the exit code. */
  readonly stop: () => Promise<number>
}

/** Starts a service on a free port, on a fresh database unless `env` names one, and waits until it listens. */
export const startService = async (env: Record<string, string> = {}): Promise<Service> => {
  const storage = env["EXPORT_STORAGE_PATH"] ?? (await temporaryDirectory())
  const database = env["DATABASE_URL"] ?? (await freshDatabase())
  const child = Bun.spawn([process.execPath, ...bunFlags, await serverBundle()], {
    cwd: join(import.meta.dir, "../.."),
    env: {
      PATH: process.env["PATH"],
      ...heapSettings,
      PORT: "0",
      LOG_FORMAT: "json",
      DATABASE_URL: database,
      EXPORT_STORAGE_PATH: storage,
      ...env
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit"
  })
  const lines: Array<string> = []
  const url = await new Promise<string>((resolve, reject) => {
    void (async () => {
      let rest = ""
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + text).split("\n")
        rest = parts.pop() ?? ""
        lines.push(...parts)
        const [, found] = /listening on (\S+?)\/?"/.exec(parts.join("\n")) ?? []
        if (found !== undefined) resolve(found)
      }
      reject(new Error(`the service ended before it listened: ${lines.join("\n")}`))
    })()
  })
  return {
    url,
    pid: child.pid,
    database,
    storage,
    log: () => lines.map((line) => JSON.parse(line)),
    signal: (signal) => child.kill(signal),
    exited: child.exited,
    stop: () => {
      child.kill("SIGTERM")
      return child.exited
    }
  }
}
