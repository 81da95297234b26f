/** Other servers of the file that a download is: what the service's own is measured against. */
import { join } from "node:path"
import { Effect, Schedule } from "effect"
import type { Bench, Case } from "./case.ts"
import { download, head, warmFile } from "./download.ts"
import { spawn, watching } from "./process.ts"
import { rowsOf } from "./service-cases.ts"

const START_LIMIT = "10 seconds"

const freePort = Effect.sync(() => {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  listener.stop(true)
  return listener.port
})

/** In one process, with all that nginx writes in a directory of ours. */
const nginxConfig = (directory: string, root: string, port: number) => `
  daemon off; master_process off; pid ${directory}/nginx.pid; error_log stderr;
  events {}
  http {
    access_log off; sendfile on; tcp_nopush on;
    client_body_temp_path ${directory}/nginx-body; proxy_temp_path ${directory}/nginx-proxy;
    fastcgi_temp_path ${directory}/nginx-fastcgi; scgi_temp_path ${directory}/nginx-scgi;
    uwsgi_temp_path ${directory}/nginx-uwsgi;
    server { listen 127.0.0.1:${port}; root ${root}; }
  }`

type Command = Parameters<typeof spawn>[0]

const fileServer = (name: string, command: (bench: Bench, port: number) => Effect.Effect<Command>): Case => ({
  name,
  run: (bench) =>
    Effect.gen(function* () {
      const { fileName } = yield* bench.finishedExport
      yield* warmFile(join(bench.storage, fileName))
      const port = yield* freePort
      const server = yield* spawn(yield* command(bench, port))
      const address = `http://127.0.0.1:${port}/${fileName}`
      yield* head(address).pipe(Effect.retry(Schedule.spaced("20 millis").pipe(Schedule.upTo(START_LIMIT))))
      const { firstByteMs: _, ...measurement } = yield* watching(server.pid, download(address))
      return { ...measurement, rows: rowsOf(bench, measurement.bytes) }
    })
})

const nginx = fileServer("nginx", ({ directory, storage }, port) =>
  Effect.promise(async () => {
    const path = join(directory, "nginx.conf")
    await Bun.write(path, nginxConfig(directory, storage, port))
    return ["nginx", "-e", "stderr", "-c", path]
  })
)

const python = fileServer("python", ({ storage }, port) =>
  Effect.succeed(["python3", "-m", "http.server", String(port), "--bind", "127.0.0.1", "--directory", storage])
)

/** The better one that this machine has. */
export const fileServerCases: ReadonlyArray<Case> = Bun.which("nginx") ? [nginx] : Bun.which("python3") ? [python] : []
