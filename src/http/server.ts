import { Effect, Runtime } from "effect"
import { AppConfig, limits } from "../config.ts"
import { makeApp } from "./app.ts"
import { defectResponse, InvalidRequest, problemResponse } from "./problem.ts"

/** Paths whose answers may be made on the fly. */
const STREAMED = /\/(csv|download|events)$/

/** The request with a whole URL. Without a Host, as HTTP/1.0 allows, Bun's is a bare path; undefined: a wrong Host. */
const withUrl = (request: Request): Request | undefined => {
  if (URL.canParse(request.url)) return request
  return request.headers.has("Host") ? undefined : new Request(`http://localhost${request.url}`, request)
}

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
          idleTimeout: limits.idleSeconds,
          // Bodies are read under a limit of our own, which answers with a document; Bun's would not.
          maxRequestBodySize: Number.MAX_SAFE_INTEGER,
          fetch: (request, bun) => {
            const routable = withUrl(request)
            if (!routable) return problemResponse(new InvalidRequest({ detail: "Cannot read the Host header" }), "/")
            // These bodies have a watchdog of their own; Bun's timer would also cut readers that are slow but steady.
            if (request.method === "GET" && STREAMED.test(new URL(routable.url).pathname)) bun.timeout(request, 0)
            return app.fetch(routable, { address: bun.requestIP(request)?.address ?? "" })
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
