import { Effect } from "effect"
import type { MiddlewareHandler } from "hono"
import { pathOf } from "../bridge.ts"

/** Logs each request when its answer begins. */
export const requestLog = (log: (line: Effect.Effect<void>) => void): MiddlewareHandler =>
  async function logRequest(c, next) {
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
