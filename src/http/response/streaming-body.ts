import { Cause, Effect, Exit, Runtime, Scope } from "effect"
import type { ApiRequest } from "../handler.ts"
import type { SentBody } from "../connections/client-connections.ts"

/** Makes bytes, one chunk at a time. Once the next chunk is asked for, nobody reads the previous one any more. */
interface Chunks {
  next(): Promise<Uint8Array | undefined>
  /** Takes a chunk back that nobody reads any more. */
  recycle?(chunk: Uint8Array): void
}

/** Makes chunks of an effect, one in each run. */
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
  /** Makes the end of a body that fails, sent instead of breaking the connection. `last` is the last two bytes of the body. */
  readonly onError?: (last: Uint8Array | undefined) => Uint8Array
  /** Transforms the body on its way to the client, for compression. */
  readonly through?: (body: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>
}

/**
 * Opens chunks in a scope of their own and makes a body of them. The first chunk is read before the body exists, so that a
 * failure until then is answered with a status of its own. The scope closes when the body ends or fails, when its client
 * has left, and when the client takes nothing for `clientStallMs`.
 *
 * A failure errors the body. That breaks the connection, so that the client sees an incomplete message.
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
        run(Effect.logInfo(`response ended: ${outcome}`).pipe(Effect.annotateLogs({ bytes, seconds })))
        return Runtime.runPromise(runtime)(Scope.close(scope, outcome === "complete" ? Exit.void : Exit.fail(outcome)))
      }
      return pullStream(readOnward(first, chunks), close, (message) => run(Effect.logWarning(message)), options)
    })
  )

type Outcome = "complete" | "client left" | "client stalled" | "aborted"

/** Reads chunks, of which the first is there already. Takes a chunk back when the next one is asked for. */
const readOnward = (first: Uint8Array | undefined, chunks: Chunks) => {
  let ahead: { readonly chunk: Uint8Array | undefined } | undefined = { chunk: first }
  let inUse: Uint8Array | undefined
  return async () => {
    if (inUse) chunks.recycle?.(inUse)
    inUse = undefined
    const { chunk } = ahead ?? { chunk: await chunks.next() }
    ahead = undefined
    inUse = chunk
    return chunk
  }
}

const pullStream = (
  next: () => Promise<Uint8Array | undefined>,
  close: (outcome: Outcome, bytes: number) => Promise<void>,
  warn: (message: string) => void,
  { request, limit, onError, through = (body) => body }: StreamOptions
): ReadableStream<Uint8Array> => {
  let last: Uint8Array | undefined
  let bytes = 0
  let hasEnded = false
  let sending: ReadableStreamDefaultController<Uint8Array> | undefined
  const { signal } = request
  const { connection, bodies } = request.env
  const finish = async (outcome: Outcome) => {
    if (hasEnded) return
    hasEnded = true
    bodies.delete(abort)
    clearTimeout(timeLimit)
    await close(outcome, bytes)
  }
  const abort = async (reason = "the service stops") => {
    if (sending && !hasEnded) await fail(sending, new Error(reason))
  }
  bodies.add(abort)
  const timeLimit = limit && setTimeout(() => void abort(limit.failure), limit.ms)
  const left = () => finish("client left")
  if (signal.aborted) void left()
  signal.addEventListener("abort", () => void left(), { once: true })
  const fail = async (controller: ReadableStreamDefaultController<Uint8Array>, cause: unknown) => {
    const { logged, message } = cause as { readonly logged?: string; readonly message: string }
    warn(`response aborted: ${logged ?? message}`)
    await finish("aborted")
    // No reason is passed, since Bun would print it with a piece of our source.
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
        try {
          // Bun's socket, or a compression, asks for the next chunk once it has written or copied the previous one.
          const chunk = await next()
          if (hasEnded) return
          if (chunk === undefined) {
            await finish("complete")
            controller.close()
            return
          }
          bytes += chunk.length
          if (onError) last = Buffer.from(chunk.subarray(-2))
          controller.enqueue(chunk)
        } catch (cause) {
          // A read error after the body has ended is expected: the end of the body ended the read.
          if (!hasEnded) await fail(controller, cause)
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

/** Sends a body over its connection, which is reset unless the kernel gets all of the body. */
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
          abort()
        })
        const abort = () => {
          controller.error()
          body.end()
        }
        // Breaks off at once, even when nobody reads because the client takes nothing.
        reader.closed.catch(abort)
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
