/** nginx before a service, as it speaks to upstreams by default: HTTP/1.0, one connection a request, with buffers. */
import { createServer, type AddressInfo } from "node:net"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import { inScope, temporaryDirectory } from "./shared-service.ts"
import { until } from "./until.ts"

export const hasNginx = Bun.which("nginx") !== null

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Starts nginx for the rest of the test run and returns its URL. */
export const startNginx = async (upstream: string): Promise<string> => {
  const directory = await temporaryDirectory()
  const port = await freePort()
  const temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"].map((name) => `${name}_temp_path ${directory}/${name};`)
  await mkdir(join(directory, "logs"))
  await Bun.write(
    join(directory, "nginx.conf"),
    `daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/logs/error.log;
    events {}
    http {
      # Little is kept for a slow client: what nginx has taken from us, it goes on to send whatever happens to us.
      access_log off; proxy_max_temp_file_size 4m; ${temporary.join(" ")}
      server { listen 127.0.0.1:${port}; location / { proxy_pass ${upstream}; proxy_set_header Host localhost; } }
    }`
  )
  await inScope(
    Effect.acquireRelease(
      Effect.sync(() => Bun.spawn(["nginx", "-p", directory, "-c", join(directory, "nginx.conf")], { stderr: "ignore" })),
      (child) => Effect.promise(() => (child.kill("SIGKILL"), child.exited))
    )
  )
  const url = `http://127.0.0.1:${port}`
  await until("nginx to listen", async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok)
  return url
}
