import { Effect } from "effect"
import type { Context } from "hono"
import { limits } from "../../limits.ts"
import type { RateDecision, RateLimiter } from "../../rate-limit/rate-limiter.ts"
import { SourceError } from "../../source/source-error.ts"
import type { RequestEnv } from "../request-env.ts"
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

/** Fails when a window refuses the request. */
export const admitted = (decision: Effect.Effect<RateDecision>): Effect.Effect<RateDecision, RateLimited> =>
  Effect.filterOrFail(
    decision,
    ({ allowed }) => allowed,
    ({ resetSeconds }) => new RateLimited({ retryAfterSeconds: resetSeconds })
  )

/**
 * Reads a request for an export, and counts it while the source checks the filters. Only requests whose filters the
 * source refuses stay counted, and one key may send a limited number of them; an accepted request does not count, nor
 * does one for which the source cannot be reached.
 */
export const countingRefusals = <A, E, R>(
  c: Context,
  limiter: RateLimiter["Type"],
  read: (mayAsk: Effect.Effect<void, RateLimited>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    let undo: Effect.Effect<void> = Effect.void
    const checks = limiter.take(`filters ${rateKey(c)}`, limiter.limit * limits.filterChecksPerRequest)
    const mayAsk = Effect.map(admitted(checks), (decision) => void (undo = decision.undo))
    return read(mayAsk).pipe(
      Effect.tap(() => undo),
      Effect.tapError((error) => (error instanceof SourceError && error.outage ? undo : Effect.void))
    )
  })

/** Writes the state of a window into headers (draft-ietf-httpapi-ratelimit-headers). */
export const setRateLimit = (
  { headers }: Response,
  policy: string,
  { limit, windowSeconds }: RateLimiter["Type"],
  { remaining, resetSeconds }: RateDecision
): void => {
  headers.set("RateLimit-Policy", `"${policy}";q=${limit};w=${Math.ceil(windowSeconds)}`)
  headers.set("RateLimit", `"${policy}";r=${remaining};t=${resetSeconds}`)
}
