import type { RateDecision } from "../rate-limit/rate-limiter.ts"
import type { Context } from "hono"
import type { ClientConnection } from "./client-connections.ts"

/** Per request, what the server knows beside the Request. */
export interface RequestEnv {
  /** The client's address. */
  readonly address: string
  readonly connection: ClientConnection
  /** What breaks off each body that the server is sending, of all requests. */
  readonly bodies: Set<() => Promise<void>>
}

export type AppContext = Context<{ Bindings: RequestEnv }>

/** Where the routes stand: `""` or `"/api/v1"`. */
export type Prefix = (typeof prefixes)[number]
export const prefixes = ["", "/api/v1"] as const

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
