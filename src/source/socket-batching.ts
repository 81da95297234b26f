import { readSync } from "node:fs"
import type { Socket } from "node:net"
import { limits } from "../limits.ts"

/** Starts and stops what a socket receives. */
export interface Flow {
  pause(): void
  resume(): void
}

/** What Bun and Node.js have below a connected socket; `fd` is negative when it is closed. */
interface Handle extends Flow {
  readonly fd: number
}

/** Of all sockets: nobody keeps what is in it. */
const received = Buffer.allocUnsafeSlow(limits.batchedReadBytes)

/**
 * Makes a connected socket read into memory of ours as long as much of it comes: `batchedReadMs` apart, and at once
 * after a read that filled the memory. Events would bring it in the 8 KB that the server sends at a time, each in a
 * new Buffer, and wake the two processes for each: half of all our work. When little comes, events tell of the next.
 *
 * Its `data` listeners may look at the bytes during the event alone. A socket that tells no descriptor is left as it is.
 */
export const batchSocketReads = (socket: Socket): Flow => {
  const { _handle: handle } = socket as unknown as { readonly _handle?: Partial<Handle> }
  return handle?.fd === undefined || handle.fd < 0 ? socket : direct(socket, handle as Handle)
}

const direct = (socket: Socket, handle: Handle): Flow => {
  const emit = socket.emit.bind(socket)
  let held = false
  let resting = false

  const listen = () => {
    if (!held && !socket.destroyed) handle.resume()
  }

  const rest = () => {
    resting = true
    handle.pause()
    setTimeout(look, limits.batchedReadMs)
  }

  /** There is more than was read. */
  const again = () => {
    resting = true
    setImmediate(look)
  }

  const look = () => {
    resting = false
    if (held || socket.destroyed) return
    const bytes = receive(handle)
    if (bytes > 0) emit("data", received.subarray(0, bytes))
    if (bytes === received.length) again()
    else if (bytes >= limits.batchedReadLeastBytes) rest()
    else listen()
  }

  socket.emit = (event: string | symbol, ...values: Array<unknown>) => {
    if (event === "data" && !resting && (values[0] as Buffer).length >= limits.batchedReadLeastBytes) rest()
    return emit(event as never, ...(values as []))
  }
  // A stream reads ahead by itself, and would wake its socket.
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => (held || resting ? null : read(size))

  return {
    pause() {
      held = true
      handle.pause()
    },
    resume() {
      held = false
      if (!resting) listen()
    }
  }
}

/** Bytes that were there; 0 also for an end or a failure, of which an event tells. */
const receive = ({ fd }: Handle): number => {
  if (fd < 0) return 0
  try {
    return readSync(fd, received)
  } catch {
    return 0
  }
}
