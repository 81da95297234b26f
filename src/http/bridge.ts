import { Cause, Effect, Exit, Option, Runtime } from "effect"
import type { Context, Handler } from "hono"
import type { HttpFailure } from "./failures.ts"
import { defectResponse, problemResponse } from "./problem.ts"

/** The status that nginx made common for "the client closed the request"; nobody is left to read it. */
const CLIENT_CLOSED = 499

/** The path of a request, without its query: queries hold API keys. */
export const pathOf = (c: Context): string => new URL(c.req.url).pathname

/** Runs handlers: Effect → Response, `after` seeing each answer. A client that leaves interrupts its handler. */
export const makeBridge = (runtime: Runtime.Runtime<never>) => {
  const run = Runtime.runPromiseExit(runtime)
  return (
    handler: (c: Context) => Effect.Effect<Response, HttpFailure>,
    after: (c: Context, response: Response) => Effect.Effect<void> = () => Effect.void
  ): Handler =>
    async (c) => {
      const path = pathOf(c)
      const exit = await run(
        handler(c).pipe(
          Effect.catchAll((failure) => {
            const response = problemResponse(failure, path)
            const log =
              response.status >= 500 ? Effect.logWarning(`answered ${response.status}: ${describe(failure)}`) : Effect.void
            return Effect.as(log, response)
          }),
          Effect.tap((response) => after(c, response)),
          Effect.tapDefect((cause) => Effect.logError("a request failed unexpectedly", Cause.pretty(cause))),
          Effect.annotateLogs({ method: c.req.method, path })
        ),
        { signal: c.req.raw.signal }
      )
      if (Exit.isSuccess(exit)) return exit.value
      return Option.isSome(Cause.dieOption(exit.cause)) ? defectResponse(path) : new Response(null, { status: CLIENT_CLOSED })
    }
}

/** Describes a failure for the log, which has what a document leaves out. */
const describe = (failure: HttpFailure): string => {
  if ("logged" in failure) return failure.logged
  if ("detail" in failure) return failure.detail
  return failure.message === "" ? failure._tag : failure.message
}
