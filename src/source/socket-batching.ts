import { readSync } from "node:fs"
import type { Socket } from "node:net"
import { limits } from "../limits.ts"

/** Pauses and resumes what a socket receives. */
export interface Flow {
  pause(): void
  resume(): void
}

/** The handle that Bun and Node.js have below a connected socket. `fd` is negative when it is closed. */
interface Handle extends Flow {
  readonly fd: number
}

/** The one buffer of all sockets. Consumers copy what they keep. */
const received = Buffer.allocUnsafeSlow(limits.batchedReadBytes)

/**
 * Makes a connected socket read into a buffer of ours while much arrives: every `batchedReadMs`, and at once after a read
 * that filled the buffer. Events would bring the 8 KB that the server sends at a time, each in a new Buffer, and wake both
 * processes for each: half of all our work. While little arrives, events report it.
 *
 * The socket's `data` listeners may use the bytes during the event alone. A socket without a descriptor is left as it is.
 */
export const batchSocketReads = (socket: Socket): Flow => {
  const { _handle: handle } = socket as unknown as { readonly _handle?: Partial<Handle> }
  return handle?.fd === undefined || handle.fd < 0 ? socket : batchReads(socket, handle as Handle)
}

const batchReads = (socket: Socket, handle: Handle): Flow => {
  const emit = socket.emit.bind(socket)
  let isPaused = false
  let isResting = false

  const listen = () => {
    if (!isPaused && !socket.destroyed) handle.resume()
  }

  const rest = () => {
    isResting = true
    handle.pause()
    setTimeout(look, limits.batchedReadMs)
  }

  /** Reads again at once: more has arrived than the buffer holds. */
  const again = () => {
    isResting = true
    setImmediate(look)
  }

  const look = () => {
    isResting = false
    if (isPaused || socket.destroyed) return
    const bytes = receive(handle)
    if (bytes > 0) emit("data", received.subarray(0, bytes))
    if (bytes === received.length) again()
    else if (bytes >= limits.batchedReadLeastBytes) rest()
    else listen()
  }

  socket.emit = (event: string | symbol, ...values: Array<unknown>) => {
    if (event === "data" && !isResting && (values[0] as Buffer).length >= limits.batchedReadLeastBytes) rest()
    return emit(event as never, ...(values as []))
  }
  // A stream reads ahead by itself and would wake its socket.
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => (isPaused || isResting ? null : read(size))

  return {
    pause() {
      isPaused = true
      handle.pause()
    },
    resume() {
      isPaused = false
      if (!isResting) listen()
    }
  }
}

/** Returns the number of bytes read; 0 also at the end or after a failure, which an event reports. */
const receive = ({ fd }: Handle): number => {
  if (fd < 0) return 0
  try {
    return readSync(fd, received)
  } catch {
    return 0
  }
}
