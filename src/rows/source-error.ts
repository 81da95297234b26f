import { Data } from "effect"

/** The source database failed. `message` is fit for the user; `retryable` says whether another try may succeed. */
export class SourceError extends Data.TaggedError("SourceError")<{
  readonly message: string
  readonly retryable: boolean
  readonly cause?: unknown
}> {}

/** Class 42: a missing table or column, a missing privilege. Trying again does not help. */
const isPermanent = (code: unknown) => typeof code === "string" && code.startsWith("42")

/** An error of postgres.js or of the socket as a SourceError. Its query and parameters stay out of the message. */
export const toSourceError = (cause: unknown): SourceError => {
  if (cause instanceof SourceError) return cause
  const { code, message } = cause as { code?: unknown; message?: unknown }
  const detail = [code, message].filter((part) => typeof part === "string" && part !== "").join(": ")
  return new SourceError({ message: `Cannot read from the source database: ${detail}`, retryable: !isPermanent(code), cause })
}
