import { Effect } from "effect"
import { needsCast } from "../../datasets/filters/filter-values.ts"
import { limits } from "../../limits.ts"
import type { RateDecision, RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { SourceError } from "../../source/source-error.ts"
import type { ApiRequest } from "../handler.ts"
import { invalid } from "./query.ts"
import { KEY_TOO_LONG } from "./stream-parameters.ts"
import type { RequestedDatasets } from "./export-request.ts"
import { RateLimited, type InvalidRequest } from "../failures.ts"

/** Returns the key that the request gives as a parameter or a header. */
export const apiKeyOf = ({ url, headers }: ApiRequest): string | undefined =>
  (url.searchParams.get("apiKey") ?? headers.get("X-API-Key")) || undefined

/** Fails when the key in the header is longer than keys are; the parameter is checked with all others. */
export const checkKeyHeader = ({ headers }: ApiRequest): Effect.Effect<void, InvalidRequest> =>
  (headers.get("X-API-Key")?.length ?? 0) > limits.apiKeyChars
    ? Effect.fail(invalid([{ field: "X-API-Key", detail: KEY_TOO_LONG }]))
    : Effect.void

/** Returns the name under which a request is counted: the client's key, otherwise its address. */
const rateKey = (request: ApiRequest): string => {
  const key = apiKeyOf(request)
  return key ? `key ${key.slice(0, limits.apiKeyChars)}` : `address ${request.env.address}`
}

/** The kinds of requests that are counted apart. An estimate costs the source a session, so estimates are limited as streams are. */
export type Window = "stream" | "estimate"
const windowKey = (request: ApiRequest, window: Window) => `${window} ${rateKey(request)}`

const admitted = (decision: RateDecision): Effect.Effect<RateDecision, RateLimited> =>
  decision.allowed ? Effect.succeed(decision) : Effect.fail(new RateLimited({ retryAfterSeconds: decision.resetSeconds }))

/**
 * Counts a request in a window, or refuses it. Runs before the request is decoded, so that a refused request costs little.
 * `undo` takes the request out of the window again.
 */
export const letIn = (
  request: ApiRequest,
  limiter: RateLimiter["Type"],
  window: Window
): Effect.Effect<Pick<RateDecision, "undo">, RateLimited> =>
  Effect.gen(function* () {
    const decision = yield* limiter.take(windowKey(request, window))
    request.rate.taken = decision
    const { undo } = yield* admitted(decision)
    return { undo: Effect.tap(undo, () => Effect.sync(() => delete request.rate.taken)) }
  })

/**
 * Returns the datasets of a request with the number of refused filters bounded. While the source checks filters, the
 * request counts; it stays counted only if the source refuses them, and one key may have a limited number of such requests
 * in a window. A request whose filters need no check is not counted.
 */
export const boundRefusals = (
  request: ApiRequest,
  limiter: RateLimiter["Type"],
  { castFailures, ...datasets }: RequestedDatasets
): RequestedDatasets => ({
  ...datasets,
  castFailures: (conditions) =>
    conditions.some(needsCast)
      ? Effect.gen(function* () {
          const most = limiter.limit * limits.filterChecksPerRequest
          const { undo } = yield* Effect.flatMap(limiter.take(`filters ${rateKey(request)}`, most), admitted)
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
  request: ApiRequest,
  { headers }: Response,
  { limit, windowSeconds, peek }: RateLimiter["Type"],
  window: Window
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { remaining, resetSeconds } = request.rate.taken ?? (yield* peek(windowKey(request, window)))
    headers.set("RateLimit-Policy", `"${window}";q=${limit};w=${Math.ceil(windowSeconds)}`)
    headers.set("RateLimit", `"${window}";r=${remaining};t=${resetSeconds}`)
  })
