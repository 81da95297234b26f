import net from "node:net"
import tls from "node:tls"
import { lostConnection } from "./source-error.ts"

/**
 * The parts of the source database's URL that concern the socket.
 * `sslmode` means what libpq means by it: `require` encrypts without looking at the certificate, `verify-ca` and
 * `verify-full` look.
 * @see https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
interface SocketTarget {
  readonly host: string
  readonly port: number
  readonly sslmode: string
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/** Reads `postgres://host:port/…?sslmode=…`. A `host` parameter with a path is the directory of a Unix socket. */
export const socketTarget = (url: string): SocketTarget => {
  const { hostname, port, searchParams } = new URL(url)
  return {
    host: searchParams.get("host") ?? (decodeURIComponent(hostname).replace(/^\[|\]$/g, "") || "localhost"),
    port: port === "" ? Number(searchParams.get("port") ?? 5432) : Number(port),
    sslmode: searchParams.get("sslmode") ?? "prefer"
  }
}

/**
 * Opens a connected socket, encrypted as `sslmode` demands. postgres.js would wrap the socket in TLS itself and drop our
 * listeners while doing so, so it gets a socket that needs nothing more.
 *
 * `created` receives the raw socket at once, so that its owner can destroy it at any moment.
 */
export const openSocket = async (target: SocketTarget, created: (socket: net.Socket) => void): Promise<net.Socket> => {
  const raw = target.host.startsWith("/")
    ? net.connect(`${target.host}/.s.PGSQL.${target.port}`)
    : net.connect({ host: target.host, port: target.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
  created(raw)
  await settled(raw, "connect")
  if (target.sslmode === "disable" || target.host.startsWith("/")) return raw
  raw.write(SSL_REQUEST)
  const answer = (await settled(raw, "data")) as Buffer
  // More than one byte would be plain text from a man in the middle: CVE-2021-23222.
  if (answer.length !== 1) throw new Error("Cannot negotiate TLS: the server sent unexpected bytes")
  if (answer[0] !== "S".charCodeAt(0)) {
    if (target.sslmode === "prefer" || target.sslmode === "allow") return raw
    throw new Error(`Cannot use TLS: the server does not offer it, and sslmode=${target.sslmode} asks for it`)
  }
  const verified = target.sslmode.startsWith("verify-")
  const secure = tls.connect({
    socket: raw,
    rejectUnauthorized: verified,
    ...(net.isIP(target.host) === 0 && { servername: target.host }),
    ...(target.sslmode === "verify-ca" && { checkServerIdentity: () => undefined })
  })
  await settled(secure, "secureConnect")
  return secure
}

/** Waits for the first `event` of the socket, or for its failure. */
const settled = (socket: net.Socket, event: "connect" | "data" | "secureConnect"): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      socket.off(event, succeed).off("error", reject).off("close", closed)
      act()
    }
    const succeed = (value?: unknown) => finish(() => resolve(value))
    const closed = () => finish(() => reject(lostConnection("the server closed the connection")))
    socket.once(event, succeed).once("error", reject).once("close", closed)
  })
