import { Effect, Runtime } from "effect"
import { Hono, type MiddlewareHandler } from "hono"
import { limits } from "../limits.ts"
import { AppConfig } from "../config.ts"
import { RateLimiter } from "../rate-limit/rate-limiter.ts"
import type { Handlers } from "./answer.ts"
import { api } from "./api.ts"
import { makeBridge, pathOf } from "./bridge.ts"
import { servedEndpoints } from "./endpoint.ts"
import { serveEndpoint, toApiRequest } from "./endpoint-handler.ts"
import { InvalidRequest, MethodNotAllowed, NotFound } from "./failures.ts"
import { allowedHosts } from "./middleware/allowed-hosts.ts"
import { crossOrigin } from "./middleware/cross-origin.ts"
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

const urlLimit: MiddlewareHandler = async function urlLimit(c, next) {
  if (c.req.raw.url.length <= limits.urlChars) return next()
  return problemResponse(
    new InvalidRequest({ status: 414, detail: `The URL is longer than ${limits.urlChars} characters` }),
    pathOf(c).slice(0, 200)
  )
}

/**
 * RFC 9110 §6.6.1 wants a Date in every answer, and §8.6 in one to HEAD no Content-Length but that of the body to GET.
 * Bun leaves out the one, and sends 0 as the other. A body that is there is a document; streams have none for HEAD.
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
