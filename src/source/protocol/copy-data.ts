import type { Socket } from "node:net"
import { HEADER_BYTES, interceptSocketData } from "./data-row.ts"

const COPY_DATA = "d".charCodeAt(0)
const COPY_DONE = "c".charCodeAt(0)
const CR_LF = Buffer.from("\r\n")
const COPY_OUT_RESPONSE = "H".charCodeAt(0)

/** Receives the bytes of one COPY as they arrive. */
export interface CopySink {
  /** Rows are to end in CR LF, where the server always sends LF. */
  readonly crlf: boolean
  /** Receives a row or a piece of one: `bytes` from `start` to `end`, which are valid during the call alone. */
  append(bytes: Buffer, start: number, end: number): void
  /** Is called after each read of the socket, and at the end, with the number of rows that have begun so far. */
  arrived(rows: number): void
}

/** One COPY that was sent to the server. */
export interface Copy {
  readonly sink: CopySink
  /** CopyData messages that have begun; each is a row. */
  rows: number
}

/**
 * Takes the CopyData messages out of what the server sends from now on, and leaves the others to the socket's `data`
 * listeners, except those that say that a COPY begins and ends: without them postgres.js takes a COPY for a statement
 * without rows and answers with its count, where it would otherwise make a stream that costs more than the work.
 *
 * A payload is passed on piece by piece as it is read, so that memory does not depend on the width of a row.
 *
 * Returns the function that announces a COPY. It is called when the COPY is sent, which may be while others run.
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
export const decodeCopyData = (socket: Socket, onError: (cause: unknown) => void): ((sink: CopySink) => Copy) => {
  /** COPYs that were sent and that the server has not begun. */
  const sent: Array<Copy> = []
  let running: Copy | undefined
  const head = Buffer.alloc(HEADER_BYTES)
  let headBytes = 0
  /** Bytes of a CopyData message that are still to come. */
  let payloadLeft = 0
  /** An incomplete message of another type. */
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

  /** Reads the header at `start`, or as much of it as has arrived; returns where it ends. */
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

  /** Collects the message of another type; returns where it ends. */
  const collect = (data: Buffer, start: number): number => {
    const copied = data.copy(message!, messageBytes, start)
    messageBytes += copied
    return start + copied
  }

  const forward = (emit: (bytes: Buffer) => void) => {
    if (messageBytes < message!.length) return
    const completed = message!
    message = undefined
    if (completed[0] === COPY_OUT_RESPONSE) running = sent.shift()
    else if (completed[0] === COPY_DONE) end()
    else emit(completed)
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
      // A message without a payload is complete with its header.
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
