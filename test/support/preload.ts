/** Runs once for all test files of a `bun test`: whatever they started together ends with it. */
import { afterAll, setDefaultTimeout } from "bun:test"
import { closeShared } from "./shared-service.ts"

// On a busy machine much takes longer than five seconds.
setDefaultTimeout(60_000)

// The server writes its last checkpoint; on a busy machine that takes longer than a test may.
afterAll(closeShared, 60_000)
