/** Limits that a test shortens instead of waiting for them. */
import type { limits } from "../../src/limits.ts"

/** Some limits, each with another value of its kind. */
export type Limits = { readonly [Name in keyof typeof limits]?: (typeof limits)[Name] extends number ? number : string }

/** What most tests that wait for a limit shorten. */
export const shortLimits = {
  drainMs: 500,
  streamTurnMs: 1_000,
  streamAdmissionMs: 1_000,
  eventKeepAliveMs: 500,
  jobRetryDelayMaxSeconds: 1
} as const satisfies Limits
