/** A client with a small receive buffer that takes exactly as many bytes as it is asked to. Sockets of Bun take more. */
import { dlopen, FFIType } from "bun:ffi"

const { i32, u32, u64, ptr } = FFIType
const AF_INET = 2
const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000

export interface SlowClient {
  /** Bytes taken, at most `most`: 0 at the end of the connection, -1 when it is broken or there is nothing yet. */
  readonly take: (most: number) => number
  readonly close: () => void
}

/** Connects to a port of this machine and sends a request. Works on Linux only. */
export const slowClient = (port: number, request: string): SlowClient => {
  const libc = dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
    connect: { args: [i32, ptr, u32], returns: i32 },
    send: { args: [i32, ptr, u64, i32], returns: i32 },
    recv: { args: [i32, ptr, u64, i32], returns: i32 },
    close: { args: [i32], returns: i32 }
  }).symbols
  const fd = libc.socket(AF_INET, SOCK_STREAM, 0)
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, new Int32Array([4096]), 4)
  const address = Buffer.from([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  if (libc.connect(fd, address, address.length) !== 0) throw new Error(`cannot connect to port ${port}`)
  const bytes = Buffer.from(request)
  libc.send(fd, bytes, bytes.length, MSG_NOSIGNAL)
  const buffer = Buffer.alloc(65_536)
  return {
    take: (most) => libc.recv(fd, buffer, Math.min(most, buffer.length), MSG_DONTWAIT),
    close: () => void libc.close(fd)
  }
}
