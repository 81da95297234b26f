import { fileURLToPath } from "node:url"
import { heapSettings } from "../support/runtime.ts"
import { runProcess, type Case, type Finished, type Printed } from "./case.ts"

const measured = ({ output, cpuSeconds, peakRssMb }: Finished) => ({ ...(JSON.parse(output) as Printed), cpuSeconds, peakRssMb })

const once = <A>(make: () => A) => {
  let made: A | undefined
  return () => (made ??= make())
}

/** libpq's settings for a URL: a password does not belong on a command line. */
const libpq = (url: string) => {
  const { hostname, port, username, password, pathname } = new URL(url)
  return { PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: password, PGDATABASE: pathname.slice(1) }
}

/** `psql \copy`, the yardstick. It does not tell bytes: they are counted once, by a run that is not measured. */
const psql = (url: string): Case => {
  const command = ["psql", "--no-psqlrc", "--command"]
  const query = "(select * from users)"
  const bytes = once(async () => {
    const env = { PATH: process.env["PATH"], ...libpq(url) }
    const child = Bun.spawn([...command, `copy ${query} to stdout (format csv, header)`], { env, stdout: "pipe" })
    let sum = 0
    for await (const chunk of child.stdout) sum += chunk.length
    return sum
  })
  return {
    name: "psql",
    run: async () => {
      const total = await bytes()
      const finished = await runProcess([...command, `\\copy ${query} to /dev/null (format csv, header)`], libpq(url))
      return { ...finished, rows: Number(finished.output.replace("COPY ", "")), bytes: total }
    }
  }
}

const node = (url: string): Case => ({
  name: "node",
  run: async () =>
    measured(await runProcess(["node", fileURLToPath(import.meta.resolve("./node-pipeline.mjs"))], { DATABASE_URL: url }))
})

/** The row source as the service runs it: one minified bundle, under the `server` script's heap settings. */
const cursor = (url: string, directory: string): Case => {
  const bundle = once(async () => {
    const entry = fileURLToPath(import.meta.resolve("./cursor-program.ts"))
    const { outputs } = await Bun.build({ entrypoints: [entry], target: "bun", minify: true, outdir: directory })
    return outputs[0]!.path
  })
  return {
    name: "cursor",
    run: async () =>
      measured(
        await runProcess([process.execPath, await bundle()], {
          DATABASE_URL: url,
          EXPORT_SOURCE: "cursor",
          LOG_LEVEL: "warning",
          ...heapSettings
        })
      )
  }
}

/** All cases that this machine can run. `directory` is for what they build. */
export const casesOf = (url: string, directory: string): Array<Case> => [
  ...(Bun.which("psql") ? [psql(url)] : []),
  ...(Bun.which("node") ? [node(url)] : []),
  cursor(url, directory)
]
