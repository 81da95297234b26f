import { Cause, Effect, Exit, Option, Runtime } from "effect"
import type { Context } from "hono"
import type { HttpFailure } from "./failures.ts"
import { defectResponse, problemResponse } from "./problem.ts"

/** The status that nginx made common for "the client closed the request"; nobody is left to read it. */
const CLIENT_CLOSED = 499

/** The path of a request, without its query: queries hold API keys. */
export const pathOf = (c: Context): string => new URL(c.req.url).pathname

/** Runs effects that answer a request, `after` seeing each answer. A client that leaves interrupts them. */
export const makeBridge = (runtime: Runtime.Runtime<never>) => {
  const run = Runtime.runPromiseExit(runtime)
  return async (
    c: Context,
    answer: Effect.Effect<Response, HttpFailure>,
    after: (response: Response) => Effect.Effect<void>
  ): Promise<Response> => {
    const path = pathOf(c)
    const exit = await run(
      answer.pipe(
        Effect.catchAll((failure) => {
          const response = problemResponse(failure, path)
          const log =
            response.status >= 500 ? Effect.logWarning(`answered ${response.status}: ${describe(failure)}`) : Effect.void
          return Effect.as(log, response)
        }),
        Effect.tap(after),
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
