import { Effect } from "effect"
import type { Context } from "hono"
import { needsCast } from "../../datasets/filters/filter-values.ts"
import { limits } from "../../limits.ts"
import type { RateDecision, RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { SourceError } from "../../source/source-error.ts"
import type { RequestEnv } from "../request-env.ts"
import type { RequestedDatasets } from "../request/export-request.ts"
import { RateLimited } from "../failures.ts"

/** Returns the key that the request gives as a parameter or a header. */
export const apiKeyOf = (c: Context): string | undefined =>
  (new URL(c.req.url).searchParams.get("apiKey") ?? c.req.header("X-API-Key")) || undefined

export const addressOf = (c: Context): string => (c.env as RequestEnv).address

/** Names whose requests are counted together: the key that the client gives, otherwise its address. */
export const rateKey = (c: Context): string => {
  const key = apiKeyOf(c)
  return key ? `key ${key.slice(0, limits.apiKeyChars)}` : `address ${addressOf(c)}`
}

const admitted = (decision: RateDecision): Effect.Effect<RateDecision, RateLimited> =>
  decision.allowed ? Effect.succeed(decision) : Effect.fail(new RateLimited({ retryAfterSeconds: decision.resetSeconds }))

/**
 * Lets a request into a window, or refuses it. Runs before the request is decoded, so that a key that is used up costs
 * nothing more. `undo` takes the request out of the window again.
 */
export const letIn = (
  c: Context,
  limiter: RateLimiter["Type"],
  window: string
): Effect.Effect<Pick<RateDecision, "undo">, RateLimited> =>
  Effect.gen(function* () {
    const decision = yield* limiter.take(window)
    c.set("rate", decision)
    const { undo } = yield* admitted(decision)
    return { undo: Effect.tap(undo, () => Effect.sync(() => c.set("rate", undefined))) }
  })

/**
 * Returns the datasets of a request with the number of refused filters bounded. While the source checks filters, the
 * request counts; it stays counted only if the source refuses them, and one key may have a limited number of such requests
 * in a window. A request whose filters need no check is not counted.
 */
export const boundRefusals = (
  c: Context,
  limiter: RateLimiter["Type"],
  { castFailures, ...datasets }: RequestedDatasets
): RequestedDatasets => ({
  ...datasets,
  castFailures: (conditions) =>
    conditions.some(needsCast)
      ? Effect.gen(function* () {
          const most = limiter.limit * limits.filterChecksPerRequest
          const { undo } = yield* Effect.flatMap(limiter.take(`filters ${rateKey(c)}`, most), admitted)
          return yield* castFailures(conditions).pipe(
            Effect.tap((failures) => (failures.length === 0 ? undo : Effect.void)),
            Effect.tapError((error) => (error instanceof SourceError && error.outage ? undo : Effect.void))
          )
        })
      : Effect.succeed([])
})

/**
 * Writes the state of a window into the headers of an answer, also of a refusal or an error
 * (draft-ietf-httpapi-ratelimit-headers).
 */
export const setRateLimit = (
  c: Context,
  { headers }: Response,
  policy: string,
  { limit, windowSeconds, peek }: RateLimiter["Type"],
  window: string
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const taken = c.get("rate") as RateDecision | undefined
    const { remaining, resetSeconds } = taken ?? (yield* peek(window))
    headers.set("RateLimit-Policy", `"${policy}";q=${limit};w=${Math.ceil(windowSeconds)}`)
    headers.set("RateLimit", `"${policy}";r=${remaining};t=${resetSeconds}`)
  })
