import type * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import { Effect } from "effect"
import type { Endpoint } from "./api.ts"
import type { HttpFailure } from "./failures.ts"
import type { ApiRequest } from "./request-env.ts"

type Headers = Readonly<Record<string, string>>

/** A document, which the router encodes with the endpoint's schema. */
export interface DocumentAnswer<A> {
  readonly document: A
  readonly headers?: Headers
}

/** An answer whose body is made only when it is asked for: to HEAD the router sends `headers` alone. */
export interface BodyAnswer {
  readonly headers: Headers
  readonly open: Effect.Effect<Response, HttpFailure>
}

/** Makes the response of an answer that is no document. */
export const openAnswer = (answer: BodyAnswer | Response): Effect.Effect<Response, HttpFailure> =>
  answer instanceof Response ? Effect.succeed(answer) : answer.open

export type Answer<A> = DocumentAnswer<A> | BodyAnswer | Response

type Of<E extends Endpoint> = Answer<Exclude<HttpApiEndpoint.HttpApiEndpoint.Success<E>, string | void>>

/** What a path names, as it stands there. */
type Params<E extends Endpoint> = { readonly [Name in keyof HttpApiEndpoint.HttpApiEndpoint.PathParsed<E>]: string }

/** A handler for each endpoint. */
export type Handlers = {
  readonly [E in Endpoint as E["name"]]: (
    request: ApiRequest<Params<E>, HttpApiEndpoint.HttpApiEndpoint.UrlParams<E>>
  ) => Effect.Effect<Of<E>, HttpFailure>
}
