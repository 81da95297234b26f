/** Runs once for all test files of a `bun test`, and ends what they started together. */
import { afterAll, setDefaultTimeout } from "bun:test"
import { closeShared } from "./shared-service.ts"

// On a busy machine many tests take longer than five seconds.
setDefaultTimeout(60_000)

// The server writes its last checkpoint; on a busy machine that takes longer than a test may.
afterAll(closeShared, 60_000)
