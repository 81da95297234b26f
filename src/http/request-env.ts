import type { ClientConnection } from "./client-connections.ts"

/** Per request, what the server knows beside the Request. */
export interface RequestEnv {
  /** The client's address. */
  readonly address: string
  readonly connection: ClientConnection
  /** What breaks off each body that the server is sending, of all requests. */
  readonly bodies: Set<() => Promise<void>>
}
