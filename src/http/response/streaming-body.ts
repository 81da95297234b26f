import { Cause, Effect, Exit, Runtime, Scope } from "effect"
import type { ApiRequest } from "../request-env.ts"
import type { SentBody } from "../client-connections.ts"

/** Bytes that are asked for one chunk at a time. When the next is asked for, nobody reads the one before any more. */
interface Chunks {
  next(): Promise<Uint8Array | undefined>
  /** Takes such a chunk back. */
  recycle?(chunk: Uint8Array): void
}

/** Chunks that an effect makes, one a run. */
export const effectChunks = <E>(next: Effect.Effect<Uint8Array | undefined, E>): Effect.Effect<Chunks> =>
  Effect.map(Effect.runtime(), (runtime) => ({
    next: async () => {
      const exit = await Runtime.runPromiseExit(runtime)(next)
      if (Exit.isSuccess(exit)) return exit.value
      // `runPromise` would wrap the failure in another error.
      throw Cause.squash(exit.cause)
    }
  }))

interface StreamOptions {
  readonly request: Pick<ApiRequest, "env" | "signal">
  /** How long the body may take from its first chunk on, and the failure that it then ends with. */
  readonly limit?: { readonly ms: number; readonly failure: string }
  /** The last words of a body that fails, instead of a broken connection, after `last`: its last two bytes. */
  readonly onError?: (last: Uint8Array | undefined) => Uint8Array
  /** Transforms the body on its way to the client, for compression. */
  readonly through?: (body: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>
}

/**
 * Opens chunks in a scope of their own and makes a body of them. The first chunk is read before the body exists,
 * so that a failure until then is an answer with a status of its own. The scope closes when the body ends, fails,
 * is cancelled because its client left, or when the client takes nothing for `clientStallMs`.
 *
 * A failure errors the body, which breaks the connection: the client sees an incomplete message.
 */
export const streamBody = <E, R>(
  open: Effect.Effect<Chunks, E, R | Scope.Scope>,
  read: (cause: unknown) => E,
  options: StreamOptions
): Effect.Effect<ReadableStream<Uint8Array>, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime()
      const scope = yield* Scope.make()
      const { chunks, first } = yield* restore(
        open.pipe(
          Scope.extend(scope),
          Effect.bindTo("chunks"),
          Effect.bind("first", (opened) => Effect.tryPromise({ try: () => opened.chunks.next(), catch: read }))
        )
      ).pipe(Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))))

      const run = Runtime.runFork(runtime)
      const begun = performance.now()
      const close = (outcome: Outcome, bytes: number) => {
        const seconds = Math.round(performance.now() - begun) / 1000
        run(Effect.logInfo(`body ended: ${outcome}`).pipe(Effect.annotateLogs({ bytes, seconds })))
        return Runtime.runPromise(runtime)(Scope.close(scope, outcome === "whole" ? Exit.void : Exit.fail(outcome)))
      }
      return pullStream(chunks, first, close, (message) => run(Effect.logWarning(message)), options)
    })
  )

type Outcome = "whole" | "client left" | "client stalled" | "broken off"

const pullStream = (
  chunks: Chunks,
  first: Uint8Array | undefined,
  close: (outcome: Outcome, bytes: number) => Promise<void>,
  warn: (message: string) => void,
  { request, limit, onError, through = (body) => body }: StreamOptions
): ReadableStream<Uint8Array> => {
  let ahead: { readonly chunk: Uint8Array | undefined } | undefined = { chunk: first }
  let last: Uint8Array | undefined
  let bytes = 0
  let given: Uint8Array | undefined
  let over = false
  let sending: ReadableStreamDefaultController<Uint8Array> | undefined
  const { signal } = request
  const { connection, bodies } = request.env
  const finish = async (outcome: Outcome) => {
    if (over) return
    over = true
    bodies.delete(breakOff)
    clearTimeout(timeLimit)
    await close(outcome, bytes)
  }
  const breakOff = async (reason = "the service stops") => {
    if (sending && !over) await fail(sending, new Error(reason))
  }
  bodies.add(breakOff)
  const timeLimit = limit && setTimeout(() => void breakOff(limit.failure), limit.ms)
  const left = () => finish("client left")
  if (signal.aborted) void left()
  signal.addEventListener("abort", () => void left(), { once: true })
  const fail = async (controller: ReadableStreamDefaultController<Uint8Array>, cause: unknown) => {
    const { logged, message } = cause as { readonly logged?: string; readonly message: string }
    warn(`a body was broken off: ${logged ?? message}`)
    await finish("broken off")
    // Without a reason, which Bun would print with a piece of our source.
    if (!onError) return controller.error()
    controller.enqueue(onError(last))
    controller.close()
  }
  const made = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        sending = controller
      },
      async pull(controller) {
        // Who asks for the next, Bun's socket or a compression, has written or copied it.
        if (given) chunks.recycle?.(given)
        given = undefined
        try {
          const { chunk } = ahead ?? { chunk: await chunks.next() }
          ahead = undefined
          if (over) return
          if (chunk === undefined) {
            await finish("whole")
            controller.close()
            return
          }
          bytes += chunk.length
          if (onError) last = Buffer.from(chunk.subarray(-2))
          given = chunk
          controller.enqueue(chunk)
        } catch (cause) {
          // Whoever ended the body made its source fail, too.
          if (!over) await fail(controller, cause)
        }
      },
      cancel: left
    },
    { highWaterMark: 0 }
  )
  return toClient(
    through(made),
    (stalled) => connection.send(stalled),
    () => finish("client stalled")
  )
}

/** Passes a body to its connection, which is reset unless the kernel gets all of it. */
const toClient = (
  made: ReadableStream<Uint8Array>,
  send: (stalled: () => void) => SentBody,
  onStall: () => Promise<void>
): ReadableStream<Uint8Array> => {
  const reader = made.getReader()
  let body: SentBody
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        body = send(() => {
          void onStall()
          breakOff()
        })
        const breakOff = () => {
          controller.error()
          body.end()
        }
        // Breaks off at once, even when nobody reads because the client takes nothing.
        reader.closed.catch(breakOff)
      },
      async pull(controller) {
        body.asked()
        try {
          const { done, value } = await reader.read()
          if (!done) return controller.enqueue(value)
          await body.sent()
          controller.close()
          body.end()
        } catch {
          // `reader.closed` reports the failure.
        }
      },
      async cancel() {
        body.end()
        await reader.cancel()
      }
    },
    { highWaterMark: 0 }
  )
}
