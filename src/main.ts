/**
 * Starts the service: settings, database, migrations, demo data, queue, workers, HTTP. On SIGTERM or SIGINT it takes no new
 * requests and jobs, gives those under way `drainMs`, releases everything in the opposite order, and exits with 0.
 */
import * as BunRuntime from "@effect/platform-bun/BunRuntime"
import { Effect } from "effect"
import { limits } from "./limits.ts"
import { HttpServer } from "./http/server.ts"
import { Worker } from "./jobs/worker.ts"
import { watchNpx } from "./npx-watchdog.ts"
import { live } from "./layers.ts"
import { reportFailure } from "./report-failure.ts"

/** Ctrl-C under `bun run` arrives twice, from the terminal and from `bun run`; they count as one signal. */
const SAME_SIGNAL_MS = 250

let signalledAt: number | undefined
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    signalledAt ??= performance.now()
    if (performance.now() - signalledAt > SAME_SIGNAL_MS) process.exit(1)
  })
}

watchNpx(() => process.kill(process.pid, "SIGTERM"))

const serve = Effect.gen(function* () {
  const server = yield* HttpServer
  const worker = yield* Worker
  yield* Effect.logInfo(`listening on ${server.url.href}`)
  const drain = Effect.all([server.drain, worker.drain], { concurrency: "unbounded" }).pipe(
    Effect.interruptible,
    Effect.timeoutTo({
      duration: limits.drainMs,
      onSuccess: () => Effect.void,
      onTimeout: () =>
        Effect.flatMap(Effect.all([server.pending, worker.running]), ([responses, jobs]) =>
          Effect.logWarning(`drain timeout: aborting ${responses} responses, returning ${jobs} jobs to the queue`)
        )
    }),
    Effect.flatten,
    Effect.ignore
  )
  return yield* Effect.never.pipe(
    Effect.onInterrupt(() =>
      Effect.logInfo(`stopping; requests and jobs have ${limits.drainMs / 1000} s to end`).pipe(Effect.zipRight(drain))
    )
  )
})

serve.pipe(
  Effect.provide(live),
  reportFailure("start Sluice"),
  BunRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
