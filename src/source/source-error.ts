import { Data } from "effect"

/**
 * The source database failed. `message` is for people who export: it names no server, role or address. `logged` has all
 * of it. `retryable` says whether another try may succeed. `outage` means that the database cannot be reached at the
 * moment, or was lost; `asked` means that the request is at fault.
 */
export class SourceError extends Data.TaggedError("SourceError")<{
  readonly message: string
  readonly retryable: boolean
  readonly outage?: boolean
  readonly asked?: boolean
  readonly cause?: unknown
}> {
  static readonly problems = {
    unavailable: { type: "source-unavailable", status: 503, meaning: "The source database cannot be read just now; try again." },
    refused: {
      type: "query-refused",
      status: 422,
      meaning: "The request is valid, but the source's data or the privileges on it do not allow the query; `detail` says why."
    }
  } as const

  /** The message for the log, with what the server or the system said. */
  get logged(): string {
    const said = this.cause instanceof SourceError ? this.cause.logged : saidBy(this.cause)
    return said === "" || this.message.includes(said) ? this.message : `${this.message} (${said})`
  }
}

/** The code and the message of an error. */
const saidBy = (cause: unknown): string => {
  const { message } = (cause ?? {}) as { readonly message?: unknown }
  return [sqlState({ cause }), message].filter((part) => typeof part === "string" && part !== "").join(": ")
}

/** The code of what failed: a server's SQLSTATE, or a socket's; empty where there is none. */
export const sqlState = ({ cause }: { readonly cause?: unknown }): string => {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  return typeof code === "string" ? code : ""
}

/**
 * Matches the errors for which another try does not help: the classes of errors in the data or the query, 0A (what the
 * server does not support) and 55000 (such as a materialized view that was never filled).
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

/**
 * Says whether the request contains a character that the server does not have. The message ends with the encoding that it
 * was to be written in.
 */
const isAsked = (code: string, message: unknown) => code === "22P05" && !/UTF8\W*$/.test(String(message))

/**
 * The text that a statement casts to fail when it finds another relation than the one that was planned, since the server
 * has no error for that.
 */
export const REPLACED = "sluice: replaced by "
const isReplaced = (message: unknown) => String(message).includes(REPLACED)

/** Sentences that clients get instead of the server's or the system's words, by the code of the error. */
const SENTENCES: ReadonlyArray<readonly [RegExp, string]> = [
  [/^28|^42501$/, "The source database refused the service's login"],
  [/^3D000$/, "The source database that the service is set up to read from does not exist"],
  [/^53300$/, "The source database has no connection free"],
  [/^53/, "The source database ran out of memory, disk space or another resource"],
  [/^57P03$/, "The source database is starting or stopping"],
  [/^57P0[12]$|^08|^ECONN(RESET|ABORTED)$|^EPIPE$|^CONNECTION_/, "The connection to the source database was lost"],
  [/^57014$/, "The source database cancelled the query"],
  [/^55P03$/, "The source database did not give a lock on what is exported in time"],
  [/^40/, "The source database ended the transaction because of others"],
  [/CERT|^ERR_(TLS|SSL)/, "The certificate of the source database is not accepted"],
  [/^E[A-Z]{3}|^CONNECT_TIMEOUT$|^DNS_/, "The source database cannot be reached"]
]

/**
 * Chooses the message for clients. Errors in the data or the query are shown in the server's words, which help to correct
 * the request.
 */
const sentenceFor = (code: string, permanent: boolean, cause: unknown): string => {
  if (permanent) return `Cannot read from the source database: ${saidBy(cause)}`
  const [, known = "The source database cannot be read"] = SENTENCES.find(([codes]) => codes.test(code)) ?? []
  return `${known}; the log says why`
}

/**
 * Converts an error of postgres.js or of the socket to a SourceError. The query and its parameters are neither shown nor
 * logged.
 */
export const toSourceError = (cause: unknown): SourceError => {
  if (cause instanceof SourceError) return cause
  const { message, severity } = (cause ?? {}) as { readonly message?: unknown; readonly severity?: unknown }
  const code = sqlState({ cause })
  if (isReplaced(message))
    return new SourceError({ message: "The table was replaced while it was exported", retryable: true, cause })
  // With FATAL a server refuses to open a session; its code is 42501 if the role may not use the database.
  const permanent = isPermanent(code) && severity !== "FATAL"
  return new SourceError({
    message: sentenceFor(code, permanent, cause),
    retryable: !permanent,
    outage: isOutage(code),
    asked: isAsked(code, message),
    cause
  })
}

/** Makes the error of a connection to the source database that was lost or could not be opened. */
export const lostConnection = (reason: string): SourceError =>
  new SourceError({
    message: "The connection to the source database was lost; the log says why",
    retryable: true,
    outage: true,
    cause: new Error(reason)
  })
