/** Runs once for all test files of a `bun test`: whatever they started together ends with it. */
import { afterAll, setDefaultTimeout } from "bun:test"
import { closeShared } from "./shared.ts"

// A test that runs out of time takes all child processes with it, the shared PostgreSQL included.
setDefaultTimeout(60_000)
afterAll(closeShared)
