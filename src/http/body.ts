import { Cause, Effect, Exit, Runtime, Scope } from "effect"
import type { Context } from "hono"
import Negotiator from "negotiator"
import { bounds } from "../bounds.ts"
import type { RequestEnv } from "./app.ts"

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
      // The failure itself: that of `runPromise` wraps it.
      throw Cause.squash(exit.cause)
    }
  }))

export type ContentCoding = "identity" | "gzip" | "zstd"

/** The coding that a request likes best (RFC 9110 §12.5.3); of those it likes equally, the cheapest for both sides. */
export const negotiateCoding = (headers: Headers): ContentCoding => {
  const header = headers.get("Accept-Encoding")
  if (header === null || header.trim() === "") return "identity"
  const preferred: Array<ContentCoding> = ["zstd", "gzip", "identity"]
  // The second argument breaks ties; it is not in its types yet.
  const negotiator = new Negotiator({ headers: { "accept-encoding": header } }) as unknown as {
    encoding(available: Array<string>, options: { preferred: Array<string> }): ContentCoding | undefined
  }
  return negotiator.encoding(preferred, { preferred }) ?? "identity"
}

/** zstd 1 is as small as gzip 6 at three times its speed; higher levels cost more than they save on CSV. */
const ZSTD_LEVEL = 1

export const compress = (
  body: ReadableStream<Uint8Array>,
  coding: ContentCoding,
  gzipLevel: number
): ReadableStream<Uint8Array> => {
  if (coding === "identity") return body
  // `level` is Bun's own option.
  const Compression = CompressionStream as unknown as new (
    format: string,
    options: { level: number }
  ) => ReadableWritablePair<Uint8Array, Uint8Array>
  return body.pipeThrough(new Compression(coding, { level: coding === "gzip" ? gzipLevel : ZSTD_LEVEL }))
}

/** The answer to HEAD where GET would stream: without this header Bun would claim a length of 0. */
export const headResponse = (headers: Record<string, string>): Response =>
  new Response(null, { headers: { ...headers, "Transfer-Encoding": "chunked" } })

interface StreamOptions {
  /** The request, with the signal that aborts when the client leaves, also while nobody reads the body yet. */
  readonly context: Context
  /** The last words of a body that fails, instead of a broken connection, after `last`: its last two bytes. */
  /** How long the body may take from its first chunk on, and why it failed then. */
  readonly limit?: { readonly ms: number; readonly failure: string }
  readonly onError?: (last: Uint8Array | undefined) => Uint8Array
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
  { context, limit, onError }: StreamOptions
): ReadableStream<Uint8Array> => {
  let ahead: { readonly chunk: Uint8Array | undefined } | undefined = { chunk: first }
  let last: Uint8Array | undefined
  let stall: Timer | undefined
  let bytes = 0
  let given: Uint8Array | undefined
  let over = false
  const { signal } = context.req.raw
  const { idle, bodies } = context.env as RequestEnv
  // We have a watchdog of our own; Bun's timer would also cut readers that are slow but steady.
  idle(0)
  const finish = async (outcome: Outcome) => {
    if (over) return
    over = true
    bodies.delete(breakOff)
    clearTimeout(stall)
    clearTimeout(timeLimit)
    // Sticks to the connection, which may serve more requests. Bun closes a stalled one by this alone.
    idle(outcome === "client stalled" ? 1 : bounds.idleSeconds)
    await close(outcome, bytes)
  }
  let sending: ReadableStreamDefaultController<Uint8Array> | undefined
  const breakOff = async (reason = "the service stops") => {
    if (sending && !over) await fail(sending, new Error(reason))
  }
  bodies.add(breakOff)
  const timeLimit = limit && setTimeout(() => void breakOff(limit.failure), limit.ms)
  const left = () => finish("client left")
  if (signal.aborted) void left()
  signal.addEventListener("abort", () => void left(), { once: true })
  const watch = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    if (over) return
    stall = setTimeout(() => {
      warn(`a client took nothing for ${bounds.clientStallMs / 1000} s and was broken off`)
      void finish("client stalled")
      controller.error()
    }, bounds.clientStallMs)
  }
  const fail = async (controller: ReadableStreamDefaultController<Uint8Array>, cause: unknown) => {
    warn(`a body was broken off: ${(cause as Error).message}`)
    await finish("broken off")
    // Without a reason, which Bun would print with a piece of our source.
    if (!onError) return controller.error()
    controller.enqueue(onError(last))
    controller.close()
  }
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        sending = controller
        watch(controller)
      },
      async pull(controller) {
        clearTimeout(stall)
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
          watch(controller)
        } catch (cause) {
          // Whoever ended the body made its source fail, too.
          if (!over) await fail(controller, cause)
        }
      },
      cancel: left
    },
    { highWaterMark: 0 }
  )
}
