import { Effect, Runtime } from "effect"
import { Hono, type Handler, type MiddlewareHandler } from "hono"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { allowedHosts } from "./middleware/allowed-hosts.ts"
import { makeBridge, pathOf } from "./bridge.ts"
import { crossOrigin } from "./middleware/cross-origin.ts"
import type { RequestEnv } from "./request-env.ts"
import { DatasetRoutes } from "./routes/datasets.ts"
import { DownloadRoute } from "./routes/download.ts"
import { EstimateRoute } from "./routes/estimate.ts"
import { EventsRoute } from "./routes/events.ts"
import { ExportRoutes } from "./routes/exports.ts"
import { HealthRoutes } from "./routes/health.ts"
import { InvalidRequest, MethodNotAllowed, NotFound } from "./failures.ts"
import { defectResponse, problemResponse } from "./problem.ts"
import { StreamRoute } from "./routes/stream.ts"

const urlLimit: MiddlewareHandler = async function urlLimit(c, next) {
  if (c.req.raw.url.length <= limits.urlChars) return next()
  return problemResponse(
    new InvalidRequest({ status: 414, detail: `The URL is longer than ${limits.urlChars} characters` }),
    pathOf(c).slice(0, 200)
  )
}

/**
 * RFC 9110 §6.6.1 wants a Date in every answer, and §8.6 in one to HEAD no Content-Length but that of the body to GET.
 * Bun leaves out the one, and tells 0 for the other. Bodies that are there are documents; streams have none for HEAD.
 */
const headFields: MiddlewareHandler = async function headFields(c, next) {
  await next()
  if (c.req.method !== "HEAD") return
  c.res.headers.set("Date", new Date().toUTCString())
  if (c.res.body !== null) c.res.headers.set("Content-Length", String((await c.res.clone().arrayBuffer()).byteLength))
}

/** The routes, and nothing but: each path with its methods; other methods of it are 405, other paths 404. */
export const makeApp = Effect.gen(function* () {
  const runtime = yield* Effect.runtime()
  const handle = makeBridge(runtime)
  const log = Runtime.runFork(runtime)
  const config = yield* AppConfig
  const exports = yield* ExportRoutes
  const datasets = yield* DatasetRoutes
  const { download } = yield* DownloadRoute
  const { estimate, rateLimitHeaders: estimateHeaders } = yield* EstimateRoute
  const { events } = yield* EventsRoute
  const { stream, rateLimitHeaders } = yield* StreamRoute
  const { health, ready } = yield* HealthRoutes

  const app = new Hono<{ Bindings: RequestEnv }>()

  const requestLog: MiddlewareHandler = async function requestLog(c, next) {
    const begun = performance.now()
    await next()
    const path = pathOf(c)
    const line = path === "/health" || path === "/ready" ? Effect.logDebug("request") : Effect.logInfo("request")
    // The path alone: queries hold API keys. A body may still be under way.
    log(
      line.pipe(
        Effect.annotateLogs({
          method: c.req.method,
          path: path.slice(0, 200),
          status: c.res.status,
          ms: Math.round(performance.now() - begun)
        })
      )
    )
  }
  app.use(requestLog, headFields, allowedHosts([config.host, ...config.allowedHosts]), crossOrigin(config.corsOrigins), urlLimit)

  const route = (path: string, methods: Partial<Record<"GET" | "POST" | "DELETE", Handler>>) => {
    const allowed = Object.keys(methods).flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]))
    // HEAD reaches the GET handlers, which answer it without a body.
    for (const [method, handler] of Object.entries(methods)) app.on(method, path, handler)
    app.all(path, (c) => problemResponse(new MethodNotAllowed({ method: c.req.method, allow: allowed.join(", ") }), pathOf(c)))
  }

  route("/health", { GET: handle(health) })
  route("/ready", { GET: handle(ready) })
  for (const base of ["/datasets", "/api/v1/datasets"]) {
    route(base, { GET: handle(datasets.list) })
    route(`${base}/:name`, { GET: handle(datasets.one) })
  }
  for (const base of ["/exports", "/api/v1/exports"]) {
    route(base, { GET: handle(exports.list), POST: handle(exports.create) })
    route(`${base}/estimate`, { POST: handle(estimate, estimateHeaders) })
    route(`${base}/csv`, { GET: handle(stream, rateLimitHeaders), POST: handle(exports.create) })
    route(`${base}/:id`, { GET: handle(exports.status), DELETE: handle(exports.remove) })
    route(`${base}/:id/status`, { GET: handle(exports.status) })
    route(`${base}/:id/download`, { GET: handle(download) })
    route(`${base}/:id/events`, { GET: handle(events) })
  }
  app.onError((error, c) => {
    log(Effect.logError("a request failed unexpectedly", error))
    return defectResponse(pathOf(c))
  })
  app.notFound((c) =>
    problemResponse(
      new NotFound({
        what: "path",
        detail: `There is nothing at ${JSON.stringify(pathOf(c).slice(0, 200))}; see /exports and /datasets`
      }),
      pathOf(c).slice(0, 200)
    )
  )
  return app
})
