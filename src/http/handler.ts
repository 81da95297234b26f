import type * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import { Effect } from "effect"
import type { Endpoint } from "./api.ts"
import type { HttpFailure } from "./failures.ts"
import type { RateDecision } from "../rate-limit/rate-limiter.ts"
import type { Prefix, RequestEnv } from "./request-env.ts"

/** A request as its handler gets it. */
export interface ApiRequest<Params = unknown, Query = unknown> {
  /** What the path names. */
  readonly params: Params
  readonly query: Query
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  /** The prefix that the request came by; links of the answer have it, too. */
  readonly prefix: Prefix
  /** Aborts when the client leaves, also while nobody reads the body of the answer yet. */
  readonly signal: AbortSignal
  readonly env: RequestEnv
  /** The body, as it arrives. */
  readonly body: () => ReadableStream<Uint8Array> | null
  /** What the rate limiter decided on the request, once it was asked. */
  readonly rate: { taken?: RateDecision | undefined }
}

type AnswerHeaders = Readonly<Record<string, string>>

/** A document, which the router encodes with the endpoint's schema. */
export interface DocumentAnswer<A> {
  readonly document: A
  readonly headers?: AnswerHeaders
}

/** An answer whose body is made only when it is asked for: to HEAD the router sends `headers` alone. */
export interface BodyAnswer {
  readonly headers: AnswerHeaders
  readonly open: Effect.Effect<Response, HttpFailure>
}

/** Makes the response of an answer that is no document. */
export const openAnswer = (answer: BodyAnswer | Response): Effect.Effect<Response, HttpFailure> =>
  answer instanceof Response ? Effect.succeed(answer) : answer.open

export type Answer<A> = DocumentAnswer<A> | BodyAnswer | Response

type Of<E extends Endpoint> = Answer<Exclude<HttpApiEndpoint.HttpApiEndpoint.Success<E>, string | void>>

/** What a path names, as it stands there. */
type PathTexts<E extends Endpoint> = { readonly [Name in keyof HttpApiEndpoint.HttpApiEndpoint.PathParsed<E>]: string }

/** A handler for each endpoint. */
export type Handlers = {
  readonly [E in Endpoint as E["name"]]: (
    request: ApiRequest<PathTexts<E>, HttpApiEndpoint.HttpApiEndpoint.UrlParams<E>>
  ) => Effect.Effect<Of<E>, HttpFailure>
}
