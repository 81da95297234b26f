import { Effect, Runtime } from "effect"
import { AppConfig } from "../config.ts"
import { makeApp } from "./app.ts"
import { defectResponse } from "./problem.ts"

/** The listening socket. Closing the scope breaks off what is still under way; `drain` before that lets it end. */
export class HttpServer extends Effect.Service<HttpServer>()("HttpServer", {
  scoped: Effect.gen(function* () {
    const { host, port } = yield* AppConfig
    const app = yield* makeApp
    const log = Runtime.runFork(yield* Effect.runtime())
    const server = yield* Effect.acquireRelease(
      Effect.try(() =>
        Bun.serve({
          hostname: host,
          port,
          // Requests with a body are read under our own, smaller limit; this one closes without a document.
          maxRequestBodySize: 64 * 1024 * 1024,
          fetch: (request, bun) => {
            // A quiet client is not a dead one: bodies have a watchdog of their own (idleTimeout also cuts slow readers).
            if (request.method === "GET") bun.timeout(request, 0)
            return app.fetch(request, { address: bun.requestIP(request)?.address ?? "" })
          },
          error: (error) => {
            log(Effect.logError("a request failed unexpectedly", error))
            return defectResponse("/")
          }
        })
      ),
      (bun) => Effect.promise(() => bun.stop(true))
    )
    /** Takes no new connections and waits for the requests under way. */
    const drain = Effect.promise(() => server.stop())
    return { url: server.url, drain } as const
  })
}) {}
