import type { Socket } from "node:net"

/** A message has a type of one byte and a length of four, which counts itself. */
export const HEADER_BYTES = 5
const DATA_ROW = "D".charCodeAt(0)

/** Takes the payload of one DataRow: `bytes` from `start` to `end`, which are valid during the call alone. */
export type OnRow = (bytes: Buffer, start: number, end: number) => void

/** Reads headers, each of which may be split between two reads of the socket. */
const headerReader = (onHeader: (head: Buffer) => void) => {
  const head = Buffer.alloc(HEADER_BYTES)
  let headBytes = 0
  return {
    isBegun: () => headBytes > 0,
    /** Copies what `data` has of a header from `start` on; returns where it ends in `data`. */
    take: (data: Buffer, start: number): number => {
      const copied = data.copy(head, headBytes, start, start + HEADER_BYTES - headBytes)
      headBytes += copied
      if (headBytes === HEADER_BYTES) {
        headBytes = 0
        onHeader(head)
      }
      return start + copied
    }
  }
}

/**
 * Takes the DataRow messages out of what the server sends from now on, and leaves all other messages to the socket's
 * `data` listeners. Must be called between two statements, when no message is half read.
 *
 * postgres.js would make an array of each row and a Buffer of each cell: garbage that costs more than the work. Here a
 * row is read where it lies, and only a message that is split between two reads is copied.
 * @see https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export const decodeDataRows = (socket: Socket, onRow: OnRow, onError: (cause: unknown) => void): void => {
  const emit = socket.emit.bind(socket)
  /** A message of which a part has arrived, allocated at its length. */
  let message: Buffer | undefined
  let messageBytes = 0

  const dispatch = (bytes: Buffer, start: number, end: number) => {
    if (bytes[start] === DATA_ROW) onRow(bytes, start + HEADER_BYTES, end)
    else emit("data", bytes.subarray(start, end))
  }

  const header = headerReader((head) => {
    message = Buffer.allocUnsafeSlow(1 + head.readUInt32BE(1))
    messageBytes = head.copy(message)
  })

  /** Copies what `data` has from `start` on of the incomplete message; returns where it ends in `data`. */
  const complete = (data: Buffer, start: number): number => {
    const at = message ? start : header.take(data, start)
    if (!message) return at
    const copied = data.copy(message, messageBytes, at)
    messageBytes += copied
    if (messageBytes === message.length) {
      const completed = message
      message = undefined
      dispatch(completed, 0, completed.length)
    }
    return at + copied
  }

  const take = (data: Buffer) => {
    let at = message || header.isBegun() ? complete(data, 0) : 0
    while (at + HEADER_BYTES <= data.length) {
      const end = at + 1 + data.readUInt32BE(at + 1)
      if (end > data.length) break
      dispatch(data, at, end)
      at = end
    }
    if (at < data.length) complete(data, at)
  }

  interceptSocketData(socket, take, onError)
}

/** Gives what the socket reads to `take` instead of its `data` listeners, which `take` reaches by `emit`. */
export const interceptSocketData = (
  socket: Socket,
  take: (data: Buffer, emit: (message: Buffer) => void) => void,
  onError: (cause: unknown) => void
): void => {
  const emit = socket.emit.bind(socket)
  const forward = (message: Buffer) => void emit("data", message)
  socket.emit = (event: string | symbol, ...values: Array<unknown>) => {
    if (event !== "data") return emit(event as never, ...(values as []))
    try {
      take(values[0] as Buffer, forward)
    } catch (cause) {
      // Thrown into the socket it would end the process.
      onError(cause)
    }
    return true
  }
}

/**
 * Reads what a socket receives from its first byte on, and reports the length of each message as soon as its header is
 * there.
 */
export const messageLengths = (onLength: (bytes: number) => void): ((data: Buffer) => void) => {
  /** How many bytes of a message are still to come. */
  let left = 0
  const header = headerReader((head) => {
    const length = head.readUInt32BE(1)
    left = length - 4
    onLength(1 + length)
  })
  return (data) => {
    for (let at = 0; at < data.length;) {
      const skipped = Math.min(left, data.length - at)
      left -= skipped
      at += skipped
      if (left === 0) at = header.take(data, at)
    }
  }
}
