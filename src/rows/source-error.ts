import { Data } from "effect"

/**
 * The source database failed. `message` is fit for the user; `retryable` says whether another try may succeed.
 * `outage`: the database cannot be reached just now, or was lost. `asked`: what the request says is at fault.
 */
export class SourceError extends Data.TaggedError("SourceError")<{
  readonly message: string
  readonly retryable: boolean
  readonly outage?: boolean
  readonly asked?: boolean
  readonly cause?: unknown
}> {}

/** The code of what failed: a server's SQLSTATE, or a socket's; empty where there is none. */
export const sqlState = ({ cause }: { readonly cause?: unknown }): string => {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  return typeof code === "string" ? code : ""
}

/**
 * Trying again does not help: the classes of errors in the data or the query, with 0A, what the server does not support,
 * and 55000, such as a materialized view that was never filled.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const isPermanent = (code: string) => /^(0A|2[123]|3[89]|4[24]|54|P0)...$|^55000$/.test(code)

/**
 * The server is away, full (53300), stops (57P01, 57P02) or starts (57P03), or a connection failed: class 08, and the
 * codes of sockets, of name resolution and of postgres.js.
 */
const isOutage = (code: string) =>
  /^08...$|^53300$|^57P0[123]$/.test(code) ||
  /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|EADDRNOTAVAIL|ENOTFOUND|EAI_AGAIN|ENOENT)$/.test(
    code
  ) ||
  /^(CONNECTION_(CLOSED|ENDED|DESTROYED)|CONNECT_TIMEOUT|DNS_\w+)$/.test(code)

/** The server has no such character as the request names. The message ends with the encoding that it was to be written in. */
const isAsked = (code: string, message: unknown) => code === "22P05" && !/UTF8\W*$/.test(String(message))

/** An error of postgres.js or of the socket as a SourceError. Its query and parameters stay out of the message. */
export const toSourceError = (cause: unknown): SourceError => {
  if (cause instanceof SourceError) return cause
  const { message } = cause as { readonly message?: unknown }
  const code = sqlState({ cause })
  const detail = [code, message].filter((part) => typeof part === "string" && part !== "").join(": ")
  return new SourceError({
    message: `Cannot read from the source database: ${detail}`,
    retryable: !isPermanent(code),
    outage: isOutage(code),
    asked: isAsked(code, message),
    cause
  })
}

/** The connection to the source database was lost, or could not be had. */
export const lostConnection = (reason: string): SourceError =>
  new SourceError({ message: `Cannot read from the source database: ${reason}`, retryable: true, outage: true })
