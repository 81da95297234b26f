/** Runs once for all test files of a `bun test`: whatever they started together ends with it. */
import { afterAll } from "bun:test"
import { closeShared } from "./shared.ts"

afterAll(closeShared)
