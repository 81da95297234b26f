import type { Context } from "hono"
import type { ClientConnection } from "./connections/client-connections.ts"

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
