import { Data, Effect, Runtime } from "effect"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { makeApp } from "./router.ts"
import type { RequestEnv } from "./request-env.ts"
import { openClientSockets } from "./connections/client-sockets.ts"
import { limitConnections } from "./connections/client-connections.ts"
import { InvalidRequest } from "./failures.ts"
import { StorageError } from "../storage/export-storage.ts"
import { defectResponse, problemResponse } from "./problem.ts"

class ListenError extends Data.TaggedError("ListenError")<{ readonly message: string; readonly cause: unknown }> {}

/**
 * Returns the request with a complete URL. Without a Host, as HTTP/1.0 allows, Bun gives it a bare path. Returns undefined
 * for a wrong Host, and for several, of which Bun takes the first and a proxy perhaps another (RFC 9112 §3.2).
 */
const withUrl = (request: Request): Request | undefined => {
  if (request.headers.get("Host")?.includes(",")) return undefined
  if (URL.canParse(request.url)) return request
  return request.headers.has("Host") ? undefined : new Request(`http://localhost${request.url}`, request)
}

const NOT_WATCHED =
  "the kernel does not show the state of client connections here, so slow clients are cut by a timer, and an HTTP/1.0 " +
  "client takes a stream that ends because this process is killed for a complete one"

/** The listening socket. Closing the scope breaks off what is still under way; `drain` before that lets it end. */
export class HttpServer extends Effect.Service<HttpServer>()("HttpServer", {
  scoped: Effect.gen(function* () {
    const { host, port } = yield* AppConfig
    const { app, close } = yield* makeApp
    const log = Runtime.runFork(yield* Effect.runtime())
    const bodies: RequestEnv["bodies"] = new Set()
    const connections = yield* Effect.acquireRelease(
      Effect.sync(() => limitConnections(limits, (message) => log(Effect.logWarning(message)))),
      ({ stop }) => Effect.sync(stop)
    )
    const server = yield* Effect.acquireRelease(
      Effect.try({
        catch: (cause) =>
          new ListenError({ message: `HOST=${host} PORT=${port} cannot be listened on: ${(cause as Error).message}`, cause }),
        try: () =>
          Bun.serve({
            hostname: host,
            port,
            idleTimeout: limits.idleSeconds,
            // Bodies are read under a limit of our own, which answers with a document; Bun's would not.
            maxRequestBodySize: Number.MAX_SAFE_INTEGER,
            fetch: (request, bun) => {
              const routable = withUrl(request)
              if (!routable)
                return problemResponse(
                  new InvalidRequest({ detail: "A request must have exactly one Host header, and it must name a host" }),
                  "/"
                )
              return connections.serve(request, bun, (connection) => {
                const env: RequestEnv = { address: connection.address, connection, bodies }
                return app.fetch(routable, env)
              })
            },
            error: (error) => {
              // A file that is removed between our look at it and Bun's opening it.
              if (error.code === "ENOENT")
                return problemResponse(new StorageError({ message: "The file was removed just now", reason: "missing" }), "/")
              log(Effect.logError("a request failed unexpectedly", error))
              return defectResponse("/")
            }
          })
      }),
      (bun) =>
        Effect.promise(async () => {
          // A body without chunks (HTTP/1.0) would look complete if `stop` closed its connection.
          await Promise.all([...bodies].map((abort) => abort()))
          await Promise.race([bun.stop(), Bun.sleep(limits.abortGraceMs)])
          await bun.stop(true)
        })
    )
    yield* Effect.try({
      try: () => connections.watch(openClientSockets(server.port ?? 0)),
      catch: (cause) => (cause as Error).message
    }).pipe(Effect.catchAll((reason) => Effect.logWarning(`${NOT_WATCHED}: ${reason}`)))
    /** Takes no new connections and waits for the requests under way. */
    const drain = close.pipe(Effect.zipRight(Effect.promise(() => server.stop())))
    const pending = Effect.sync(() => server.pendingRequests)
    return { url: server.url, drain, pending } as const
  })
}) {}
