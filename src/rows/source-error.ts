import { Data } from "effect"

/** The source database failed. `message` is fit for the user; `retryable` says whether another try may succeed. */
export class SourceError extends Data.TaggedError("SourceError")<{
  readonly message: string
  readonly retryable: boolean
  readonly cause?: unknown
}> {}

/** The code of what failed: a server's SQLSTATE, or a socket's; empty where there is none. */
export const sqlState = ({ cause }: { readonly cause?: unknown }): string => (cause as { code?: string } | undefined)?.code ?? ""

/**
 * Trying again does not help. Class 42: a missing table or column, a missing privilege; 0A: what the server does not
 * support; a time zone that it does not know, and characters that its encoding does not have.
 */
const isPermanent = (code: unknown) => typeof code === "string" && /^(0A|42)|^(22023|22P05)$/.test(code)

/** An error of postgres.js or of the socket as a SourceError. Its query and parameters stay out of the message. */
export const toSourceError = (cause: unknown): SourceError => {
  if (cause instanceof SourceError) return cause
  const { code, message } = cause as { code?: unknown; message?: unknown }
  const detail = [code, message].filter((part) => typeof part === "string" && part !== "").join(": ")
  return new SourceError({ message: `Cannot read from the source database: ${detail}`, retryable: !isPermanent(code), cause })
}
