import { Effect, Runtime } from "effect"
import { Hono } from "hono"
import { AppConfig } from "../config.ts"
import { RateLimiter } from "../rate-limit/rate-limiter.ts"
import type { Handlers } from "./handler.ts"
import { api } from "./api.ts"
import { makeBridge, pathOf } from "./bridge.ts"
import { servedEndpoints } from "./endpoints/endpoint.ts"
import { serveEndpoint, toApiRequest } from "./endpoint-handler.ts"
import { MethodNotAllowed, NotFound } from "./failures.ts"
import { allowedHosts } from "./middleware/allowed-hosts.ts"
import { crossOrigin } from "./middleware/cross-origin.ts"
import { headFields } from "./middleware/head-fields.ts"
import { requestLog } from "./middleware/request-log.ts"
import { urlLimit } from "./middleware/url-limit.ts"
import { defectResponse, problemResponse } from "./problem.ts"
import { prefixes, type RequestEnv } from "./request-env.ts"
import { datasetHandlers } from "./routes/datasets.ts"
import { descriptionHandlers } from "./routes/description.ts"
import { downloadHandler } from "./routes/download.ts"
import { estimateHandler } from "./routes/estimate.ts"
import { eventsHandler } from "./routes/events.ts"
import { exportHandlers } from "./routes/exports.ts"
import { healthHandlers } from "./routes/health.ts"
import { streamHandler } from "./routes/stream.ts"

/** The routes, and nothing but: each path with its methods; other methods of it are 405, other paths 404. */
export const makeApp = Effect.gen(function* () {
  const runtime = yield* Effect.runtime()
  const run = makeBridge(runtime)
  const log = Runtime.runFork(runtime)
  const config = yield* AppConfig
  const limiter = yield* RateLimiter
  const { close, ...events } = yield* eventsHandler
  const handlers: Handlers = {
    ...(yield* exportHandlers),
    ...(yield* estimateHandler),
    ...(yield* streamHandler),
    ...(yield* downloadHandler),
    ...(yield* datasetHandlers),
    ...(yield* healthHandlers),
    ...(yield* descriptionHandlers),
    ...events
  }

  const app = new Hono<{ Bindings: RequestEnv }>()

  app.use(
    requestLog(log),
    headFields,
    allowedHosts([config.host, ...config.allowedHosts]),
    crossOrigin(config.corsOrigins),
    urlLimit
  )

  for (const [path, served] of Map.groupBy(servedEndpoints(api), ({ endpoint }) => endpoint.path)) {
    const allow = served.flatMap(({ endpoint: { method } }) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ")
    for (const prefix of served.some(({ details }) => details.atRoot) ? prefixes.slice(0, 1) : prefixes) {
      for (const one of served) {
        const { answer, after } = serveEndpoint(one, handlers[one.endpoint.name as keyof Handlers], limiter)
        // HEAD reaches what answers GET.
        app.on(one.endpoint.method, prefix + path, (c) => {
          const request = toApiRequest(c, prefix)
          return run(c, answer(request), (response) => after(request, response))
        })
      }
      app.all(prefix + path, (c) => problemResponse(new MethodNotAllowed({ method: c.req.method, allow }), pathOf(c)))
    }
  }

  // Relative, so that a proxy may give the service a path of its own.
  app.get("/docs/", () => new Response(null, { status: 308, headers: { Location: "../docs" } }))

  app.onError((error, c) => {
    log(Effect.logError("a request failed unexpectedly", error))
    return defectResponse(pathOf(c))
  })
  app.notFound((c) => {
    const path = pathOf(c).slice(0, 200)
    const detail = `There is nothing at ${JSON.stringify(path)}; see /docs`
    return problemResponse(new NotFound({ what: "path", detail }), path)
  })
  return { app, close }
})
