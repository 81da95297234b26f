/**
 * Limits the connections of clients: how long each may be idle, for how long a client may take nothing of what it is sent,
 * and how many connections there may be.
 *
 * Where the sockets can be asked (see client-sockets.ts), every connection is examined once in `connectionSweepMs`, and a
 * client that takes its bytes slowly but steadily is never cut. Elsewhere Bun's idle timer and a timer for each body take
 * the place of that. They notice a client only when the kernel's buffers, which take megabytes, have room again.
 */
import type { ClientSocket, ClientSockets } from "./client-sockets.ts"

export interface ConnectionLimits {
  /** How long the first request of a connection may take to arrive. */
  readonly requestHeadMs: number
  /** Longest time between the end of an answer and the next request. */
  readonly clientIdleMs: number
  /** How long a client may take no byte of what it is sent. */
  readonly clientStallMs: number
  readonly connections: number
  readonly connectionSweepMs: number
  /** Bun's idle timer between two requests, where sockets cannot be asked. */
  readonly idleSeconds: number
}

/** A body that is sent as it is made. */
export interface SentBody {
  /** Notes that the client's side asks for more, so that the kernel has all before it, or nearly all. */
  readonly asked: () => void
  /** Waits until the kernel has every byte, so that what follows cannot cut the body, and lets the connection end by FIN. */
  readonly sent: () => Promise<void>
  readonly end: () => void
}

/** The connection as its request sees it. */
export interface ClientConnection {
  /** The client's address. */
  readonly address: string
  /**
   * Begins a body whose end may be that of its connection, as in HTTP/1.0: until `sent`, whatever ends the connection
   * resets it, the end of the process included, so that half a body never looks complete.
   */
  readonly send: (stalled: () => void) => SentBody
}

interface Connection {
  /** How many requests and bodies the service works on. */
  work: number
  answered: boolean
  /** When the connection last made progress: bytes were taken, or the work on it ended. */
  since: number
  taken: number
  stalled?: (() => void) | undefined
}

type BunServer = Pick<Bun.Server<undefined>, "requestIP" | "timeout">

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Turns of the event loop before a body is polled less often. Most bodies are flushed within one or two. */
const FLUSH_TURNS = 8
/** Pause between two polls. It doubles while the kernel takes nothing. */
const FLUSH_PAUSE_MS = 5
const FLUSH_PAUSE_MAX_MS = 250

/** Waits until Bun has given all bytes of a body to the kernel. */
const allSent = async (socket: ClientSocket) => {
  let before: number | undefined
  let pauseMs = FLUSH_PAUSE_MS
  for (let turns = 0; ; turns++) {
    const state = socket.look()
    if (!state) return
    // Bun keeps bytes back only while the kernel takes none. If the kernel would take some, and has received none during
    // a turn of the event loop, then all of them are sent.
    const received = state.taken + state.queued
    if (state.writable && received === before) return
    before = state.writable ? received : undefined
    if (turns < FLUSH_TURNS) await turn()
    else {
      pauseMs = state.writable ? FLUSH_PAUSE_MS : Math.min(2 * pauseMs, FLUSH_PAUSE_MAX_MS)
      await Bun.sleep(pauseMs)
    }
  }
}

export const limitConnections = (limits: ConnectionLimits, warn: (message: string) => void) => {
  let sockets: ClientSockets | undefined
  let timer: Timer | undefined
  const connections = new Map<string, Connection>()
  const stallMessage = `connection aborted: its client took no byte for ${limits.clientStallMs / 1000} s`
  const recordOf = (name: string): Connection => {
    const known = connections.get(name)
    if (known) return known
    const connection = { work: 0, answered: false, since: performance.now(), taken: 0 }
    connections.set(name, connection)
    return connection
  }
  /** Notes that work on a connection begins. Returns what notes its end. */
  const begin = (connection: Connection) => {
    connection.work++
    let hasEnded = false
    return () => {
      if (hasEnded) return
      hasEnded = true
      connection.work--
      connection.answered = true
      connection.since = performance.now()
    }
  }

  /** Updates the record of a connection, and returns how long it has made no progress. */
  const restingMs = (connection: Connection, taken: number, queued: number, now: number): number => {
    if (taken !== connection.taken || (connection.work > 0 && queued === 0)) connection.since = now
    connection.taken = taken
    return now - connection.since
  }
  /** Examines every connection, and ends those that exceed a limit. */
  const sweep = ({ all, descriptors }: ClientSockets) => {
    const now = performance.now()
    const open = all()
    const resting: Array<{ readonly ms: number; readonly socket: ClientSocket }> = []
    for (const [name, socket] of open) {
      const state = socket.look()
      if (!state) continue
      const connection = recordOf(name)
      const ms = restingMs(connection, state.taken, state.queued, now)
      if (state.queued > 0 && ms > limits.clientStallMs) {
        warn(stallMessage)
        connection.stalled?.()
        socket.reset()
      } else if (state.queued === 0 && ms > (connection.answered ? limits.clientIdleMs : limits.requestHeadMs)) {
        socket.close()
      } else if (connection.work === 0 || state.queued > 0) resting.push({ ms, socket })
    }
    for (const [name, { work }] of connections) if (work === 0 && !open.has(name)) connections.delete(name)
    // The connections that have been quiet longest make room. Half of the descriptors are for files and databases.
    const most = Math.min(limits.connections, Math.floor(descriptors / 2))
    const excess = open.size - most
    if (excess <= 0) return
    warn(`too many connections: ${open.size}, and the limit is ${most}; closing those that have been quiet longest`)
    for (const { socket } of resting.toSorted((a, b) => b.ms - a.ms).slice(0, excess)) socket.reset()
  }
  /** Begins to examine the sockets. */
  const watch = (of: ClientSockets) => {
    sockets = of
    timer = setInterval(() => sweep(of), limits.connectionSweepMs).unref()
  }

  const viaSocket = (connection: Connection, socket: ClientSocket | undefined, stalled: () => void): SentBody => {
    const done = begin(connection)
    connection.stalled = stalled
    socket?.resetOnClose(true)
    return {
      asked: () => {},
      sent: async () => {
        if (!socket) return
        await allSent(socket)
        socket.resetOnClose(false)
      },
      end: () => {
        connection.stalled = undefined
        done()
      }
    }
  }
  const viaTimer = (idle: (seconds: number) => void, stalled: () => void): SentBody => {
    let isStalled = false
    const start = () =>
      setTimeout(() => {
        warn(stallMessage)
        isStalled = true
        // This is the only way to make Bun close a connection whose client takes nothing.
        idle(1)
        stalled()
      }, limits.clientStallMs)
    let timeout = start()
    return {
      asked: () => {
        clearTimeout(timeout)
        timeout = start()
      },
      sent: async () => {},
      end: () => {
        clearTimeout(timeout)
        if (!isStalled) idle(limits.idleSeconds)
      }
    }
  }

  /** Serves a request. Bun's idle timer is off meanwhile, since every wait of the service has a limit of its own. */
  const serve = async (
    request: Request,
    server: BunServer,
    handle: (connection: ClientConnection) => Response | Promise<Response>
  ): Promise<Response> => {
    const { address = "", port = 0 } = server.requestIP(request) ?? {}
    const idle = (seconds: number) => server.timeout(request, seconds)
    idle(0)
    if (!sockets) {
      let sends = false
      const send = (stalled: () => void) => {
        sends = true
        return viaTimer(idle, stalled)
      }
      return Promise.resolve(handle({ address, send })).finally(() => {
        if (!sends) idle(limits.idleSeconds)
      })
    }
    const { find, nameOf } = sockets
    const connection = recordOf(nameOf(address, port))
    const done = begin(connection)
    const send = (stalled: () => void) => viaSocket(connection, find(address, port), stalled)
    return Promise.resolve(handle({ address, send })).finally(done)
  }

  return { serve, watch, stop: () => clearInterval(timer) } as const
}
