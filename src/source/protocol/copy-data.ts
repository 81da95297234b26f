import type { Socket } from "node:net"
import { HEADER_BYTES, interceptSocketData } from "./data-row.ts"

const COPY_DATA = "d".charCodeAt(0)
const COPY_DONE = "c".charCodeAt(0)
const CR_LF = Buffer.from("\r\n")
const COPY_OUT_RESPONSE = "H".charCodeAt(0)

/** Takes the bytes of one COPY as they arrive. */
export interface CopySink {
  /** It wants CR LF at the end of a row, where the server always sends LF. */
  readonly crlf: boolean
  /** Some of them, `bytes` from `start` to `end`: a row or a piece of one. Valid during the call alone. */
  append(bytes: Buffer, start: number, end: number): void
  /** After each read of the socket, and at the end: how many rows have begun so far. */
  arrived(rows: number): void
}

/** One COPY. */
export interface Copy {
  readonly sink: CopySink
  /** CopyData messages, which are its rows, that have begun. */
  rows: number
}

/**
 * From now on takes the CopyData messages out of what the server sends, and leaves all others to the socket's `data`
 * listeners, but for those that say that a COPY begins and ends: without them postgres.js takes it for a statement
 * without rows and answers with its count, where it would make a stream of it that costs more than the work.
 *
 * A payload is handed on piece by piece as it is read, so that memory does not depend on the width of a row.
 *
 * Returns what tells it of the next COPY that was sent, also while others run.
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
export const decodeCopyData = (socket: Socket, onError: (cause: unknown) => void): ((sink: CopySink) => Copy) => {
  /** Sent, and not yet begun by the server. */
  const sent: Array<Copy> = []
  let running: Copy | undefined
  const head = Buffer.alloc(HEADER_BYTES)
  let headBytes = 0
  /** What is still to come of a CopyData message. */
  let payloadLeft = 0
  /** A message of another type that is not yet whole. */
  let message: Buffer | undefined
  let messageBytes = 0

  const piece = (data: Buffer, start: number): number => {
    const end = Math.min(start + payloadLeft, data.length)
    payloadLeft -= end - start
    if (!running) return end
    // A message is a row.
    const endsLine = payloadLeft === 0 && running.sink.crlf
    running.sink.append(data, start, endsLine ? end - 1 : end)
    if (endsLine) running.sink.append(CR_LF, 0, CR_LF.length)
    return end
  }

  /** Takes the header at `start`, or as much of it as is there; returns where it ends. */
  const header = (data: Buffer, start: number): number => {
    const copied = data.copy(head, headBytes, start, start + HEADER_BYTES - headBytes)
    headBytes += copied
    if (headBytes === HEADER_BYTES) {
      headBytes = 0
      begin(head[0]!, head.readInt32BE(1))
    }
    return start + copied
  }

  const begin = (type: number, length: number) => {
    if (type === COPY_DATA) {
      payloadLeft = length - 4
      if (running) running.rows++
    } else {
      message = Buffer.allocUnsafeSlow(1 + length)
      message.writeUInt8(type)
      messageBytes = message.writeInt32BE(length, 1)
    }
  }

  /** Goes on with the other message; returns where it ends. */
  const collect = (data: Buffer, start: number): number => {
    const copied = data.copy(message!, messageBytes, start)
    messageBytes += copied
    return start + copied
  }

  const forward = (emit: (bytes: Buffer) => void) => {
    if (messageBytes < message!.length) return
    const whole = message!
    message = undefined
    if (whole[0] === COPY_OUT_RESPONSE) running = sent.shift()
    else if (whole[0] === COPY_DONE) end()
    else emit(whole)
  }

  const end = () => {
    running?.sink.arrived(running.rows)
    running = undefined
  }

  const take = (data: Buffer, emit: (bytes: Buffer) => void) => {
    for (let at = 0; at < data.length;) {
      if (payloadLeft > 0) at = piece(data, at)
      else if (message) at = collect(data, at)
      else if (headBytes === 0 && data.length - at >= HEADER_BYTES) {
        begin(data[at]!, (data[at + 1]! << 24) | (data[at + 2]! << 16) | (data[at + 3]! << 8) | data[at + 4]!)
        at += HEADER_BYTES
      } else at = header(data, at)
      // Also one without a payload, which is whole with its header.
      if (message) forward(emit)
    }
    running?.sink.arrived(running.rows)
  }

  interceptSocketData(socket, take, onError)
  return (sink) => {
    const copy: Copy = { sink, rows: 0 }
    sent.push(copy)
    return copy
  }
}
