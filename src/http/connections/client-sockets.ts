/**
 * Asks the kernel what Bun does not show of its clients' connections: whether a client takes what it is sent, and whether
 * all of a body has left the process. It also sets how a connection ends when the process does. This works on Linux with
 * glibc only.
 */
import { dlopen, FFIType } from "bun:ffi"
import { readdirSync } from "node:fs"

/** A connection as its socket shows it. */
interface SocketState {
  /** Bytes that the client's machine has acknowledged, since the connection began. */
  readonly taken: number
  /** Bytes that the kernel has and the client's machine has not acknowledged. */
  readonly queued: number
  /** Whether the kernel would take more bytes. */
  readonly writable: boolean
}

/** One connection of a client. Its methods do nothing once the file descriptor belongs to another connection. */
export interface ClientSocket {
  /** Returns the state of the socket; undefined when the connection is closed. */
  readonly look: () => SocketState | undefined
  /**
   * Makes every close of the connection a reset (RST), also that by the kernel when the process ends, or an ordinary
   * close (FIN) again.
   */
  readonly resetOnClose: (on: boolean) => void
  /** Breaks the connection off with a reset, at once. */
  readonly reset: () => void
  /** Closes the connection. */
  readonly close: () => void
}

export interface ClientSockets {
  /** Returns the connection that a request came by. */
  readonly find: (address: string, port: number) => ClientSocket | undefined
  /** Returns all connections of clients, by a name that is unique among the open ones. */
  readonly all: () => Map<string, ClientSocket>
  /** Returns the name of a connection in `all`. */
  readonly nameOf: (address: string, port: number) => string
  /** How many files and connections the process may have open. */
  readonly descriptors: number
}

const AF_INET = 2
const AF_INET6 = 10
const SOL_SOCKET = 1
const SO_LINGER = 13
const IPPROTO_TCP = 6
const TCP_INFO = 11
/** The offset of tcpi_bytes_acked in `struct tcp_info` of linux/tcp.h, since Linux 4.1. */
const BYTES_ACKED = 120
const SIOCOUTQ = 0x5411
const POLLOUT = 4
const SHUT_RDWR = 2
const RLIMIT_NOFILE = 7

const { i32, u32, u64, ptr } = FFIType

const openLibrary = () =>
  dlopen("libc.so.6", {
    getsockname: { args: [i32, ptr, ptr], returns: i32 },
    getpeername: { args: [i32, ptr, ptr], returns: i32 },
    getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
    setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
    ioctl: { args: [i32, u64, ptr], returns: i32 },
    poll: { args: [ptr, u64, i32], returns: i32 },
    connect: { args: [i32, ptr, u32], returns: i32 },
    shutdown: { args: [i32, i32], returns: i32 },
    inet_pton: { args: [i32, ptr, ptr], returns: i32 },
    getrlimit: { args: [i32, ptr], returns: i32 }
  }).symbols

/**
 * Finds the connections of a server that listens on `localPort`. Throws on a system that does not offer the functions for
 * it.
 */
export const openClientSockets = (localPort: number): ClientSockets => {
  if (process.platform !== "linux") throw new Error(`there is no TCP_INFO on ${process.platform}`)
  const libc = openLibrary()
  // One buffer is enough: the kernel fills it, it is read at once, and nothing else runs in between.
  const name = Buffer.alloc(128)
  const info = Buffer.alloc(256)
  const length = new Uint32Array(1)
  const queue = new Int32Array(1)
  const pollfd = Buffer.alloc(8)
  const unspecified = Buffer.alloc(16)

  const localPortOf = (fd: number): number | undefined => {
    length[0] = name.length
    return libc.getsockname(fd, name, length) === 0 && isInternet() ? name.readUInt16BE(2) : undefined
  }
  const isInternet = () => name.readUInt16LE(0) === AF_INET || name.readUInt16LE(0) === AF_INET6
  /** Returns the port and the address of the other end as bytes. */
  const peerOf = (fd: number): string | undefined => {
    length[0] = name.length
    if (libc.getpeername(fd, name, length) !== 0) return undefined
    // Between port and address, IPv6 has four bytes of flow information.
    return name.readUInt16LE(0) === AF_INET
      ? name.toString("latin1", 2, 8)
      : name.toString("latin1", 2, 4) + name.toString("latin1", 8, 24)
  }
  const nameOf = (address: string, port: number): string => {
    const bytes = Buffer.alloc(16)
    const family = address.includes(":") ? AF_INET6 : AF_INET
    libc.inet_pton(family, Buffer.from(`${address}\0`), bytes)
    return String.fromCharCode(port >> 8, port & 255) + bytes.toString("latin1", 0, family === AF_INET ? 4 : 16)
  }

  /** Fills `info`, and says whether the kernel knows all the fields that are read from it. */
  const readInfo = (fd: number): boolean => {
    length[0] = info.length
    return libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) === 0 && length[0] >= BYTES_ACKED + 8
  }

  const socketAt = (fd: number, peer: string): ClientSocket => {
    const isOpen = () => peerOf(fd) === peer
    return {
      look: () => {
        if (!isOpen() || !readInfo(fd)) return undefined
        libc.ioctl(fd, SIOCOUTQ, queue)
        pollfd.writeInt32LE(fd, 0)
        pollfd.writeInt16LE(POLLOUT, 4)
        const ready = libc.poll(pollfd, 1, 0)
        return { taken: Number(info.readBigUInt64LE(BYTES_ACKED)), queued: queue[0] ?? 0, writable: ready === 1 }
      },
      resetOnClose: (on) => {
        if (isOpen()) libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, new Int32Array([on ? 1 : 0, 0]), 8)
      },
      reset: () => {
        // Connecting a socket to nothing resets its connection. Unlike a close of the descriptor, Bun sees this and
        // cleans up.
        if (isOpen()) libc.connect(fd, unspecified, unspecified.length)
      },
      close: () => {
        if (isOpen()) libc.shutdown(fd, SHUT_RDWR)
      }
    }
  }

  const descriptorLimit = () => {
    const limit = new BigUint64Array(2)
    libc.getrlimit(RLIMIT_NOFILE, limit)
    return Number(limit[0])
  }
  const descriptors = descriptorLimit()
  const openDescriptors = (): Iterable<number> => {
    try {
      return readdirSync("/proc/self/fd").map(Number)
    } catch {
      // Listing the descriptors needs a free one.
      return Array(Math.min(descriptors, 65_536)).keys()
    }
  }

  /** The descriptors at which connections were last seen. */
  let known = new Map<string, number>()
  const all = () => {
    const sockets = new Map<string, ClientSocket>()
    const seen = new Map<string, number>()
    for (const fd of openDescriptors()) {
      if (localPortOf(fd) !== localPort) continue
      const peer = peerOf(fd)
      if (peer === undefined) continue
      seen.set(peer, fd)
      sockets.set(peer, socketAt(fd, peer))
    }
    known = seen
    return sockets
  }
  const find = (address: string, port: number) => {
    const peer = nameOf(address, port)
    const fd = known.get(peer)
    return fd !== undefined && peerOf(fd) === peer ? socketAt(fd, peer) : all().get(peer)
  }

  const listening = [...openDescriptors()].find((fd) => localPortOf(fd) === localPort)
  if (listening === undefined) throw new Error("the listening socket is not among the files of this process in /proc/self/fd")
  if (!readInfo(listening)) throw new Error("the kernel does not say in TCP_INFO how many bytes a client has acknowledged")
  return { find, all, nameOf, descriptors }
}
