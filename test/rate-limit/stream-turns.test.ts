import { describe, expect, test } from "bun:test"
import { Effect, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { StreamLines, StreamTurns, TooManyStreams } from "../../src/rate-limit/stream-turns.ts"
import { settings, settled, withTestClock } from "../support/effect.ts"

const MOST = 2
const ALL = MOST + limits.addressStreams

/** A stream that has asked for its turn, and the outcome. */
const open = (turns: StreamTurns, key: string | undefined, address = "here") =>
  Effect.gen(function* () {
    let ended = false
    const scope = yield* Scope.make()
    const fiber = yield* Effect.fork(
      turns.take(key, address).pipe(
        Scope.extend(scope),
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
    )
    yield* settled
    return {
      state: Effect.map(Fiber.poll(fiber), (exit) => {
        if (exit._tag === "None") return "waits"
        return Exit.isSuccess(exit.value) ? "runs" : "refused"
      }),
      failure: Effect.flip(Fiber.join(fiber)),
      /** Ends the stream as `streamBody` does, whatever the cause. */
      end: (exit: Exit.Exit<void> = Exit.void) => {
        ended = true
        return Effect.zipRight(Fiber.interrupt(fiber), Scope.close(scope, exit))
      },
      ended: () => ended
    }
  })

const withTurns = <A, E>(use: (turns: StreamTurns) => Effect.Effect<A, E>) =>
  withTestClock(
    Effect.flatMap(StreamTurns, use).pipe(
      Effect.provide(StreamTurns.Default.pipe(Layer.provide(settings({ STREAMS_PER_KEY: String(MOST) })))),
      Effect.orDie
    )
  )
const statesOf = (streams: ReadonlyArray<Effect.Effect.Success<ReturnType<typeof open>>>) =>
  Effect.zipRight(
    settled,
    Effect.forEach(streams, ({ state }) => state)
  )

test("streams of a key run up to the limit, and the others follow in the order of arrival, however the running ones end", () =>
  withTurns((turns) =>
    Effect.gen(function* () {
      const streams = yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => open(turns, "k"))
      expect(yield* statesOf(streams)).toEqual(["runs", "runs", "waits", "waits", "waits", "waits"])
      yield* streams[1]!.end()
      expect(yield* statesOf(streams)).toEqual(["runs", "runs", "runs", "waits", "waits", "waits"])
      yield* streams[0]!.end(Exit.die("the source failed"))
      // A stream that leaves while it waits makes no room, and gets no turn later.
      yield* streams[4]!.end(Exit.interrupt(yield* Effect.fiberId))
      expect((yield* statesOf(streams)).slice(2)).toEqual(["runs", "runs", "refused", "waits"])
      yield* streams[2]!.end()
      expect(yield* statesOf([streams[5]!])).toEqual(["runs"])
    })
  ))

test("a stream that waits too long is refused with the limit that it waited for, and its place in the line becomes free", () =>
  withTurns((turns) =>
    Effect.gen(function* () {
      const running = yield* Effect.forEach([1, 2], () => open(turns, "k"))
      const third = yield* open(turns, "k")
      yield* TestClock.adjust(limits.streamTurnMs - 1)
      expect(yield* third.state).toBe("waits")
      yield* TestClock.adjust(1)
      expect(yield* third.failure).toEqual(new TooManyStreams({ of: "key", most: MOST }))
      yield* third.end()
      const fourth = yield* open(turns, "k")
      yield* running[0]!.end()
      expect(yield* statesOf([fourth])).toEqual(["runs"])
    })
  ))

test("the streams of all keys of one address have a limit together, which does not affect other addresses", () =>
  withTurns((turns) =>
    Effect.gen(function* () {
      const keys = Array.from({ length: ALL + 1 }, (_, index) => `made up ${index}`)
      const streams = yield* Effect.forEach(keys, (key) => open(turns, key))
      expect((yield* statesOf(streams)).filter((state) => state === "runs")).toHaveLength(ALL)
      expect(yield* statesOf([yield* open(turns, "elsewhere", "there"), yield* open(turns, keys[0], "there")])).toEqual([
        "runs",
        "runs"
      ])
      yield* TestClock.adjust(limits.streamTurnMs)
      expect(yield* streams.at(-1)!.failure).toEqual(new TooManyStreams({ of: "address", most: ALL }))
    })
  ))

test("requests without a key share a line for their address, and a key that is called like the address has another", () =>
  withTurns((turns) =>
    Effect.gen(function* () {
      const streams = yield* Effect.forEach([undefined, undefined, undefined, "here"], (key) => open(turns, key))
      expect(yield* statesOf(streams)).toEqual(["runs", "runs", "waits", "runs"])
      yield* TestClock.adjust(limits.streamTurnMs)
      expect(yield* streams[2]!.failure).toEqual(new TooManyStreams({ of: "address", most: MOST }))
    })
  ))

/** A step of a history: somebody opens a stream, an earlier stream ends, or time passes. */
const step = fc.oneof(
  fc.record({ key: fc.constantFrom(undefined, "a", "b"), address: fc.constantFrom("here", "there") }),
  fc.record({ ends: fc.nat(11) }),
  fc.record({ passes: fc.constantFrom(1, 2_000, limits.streamTurnMs) })
)
test("after any history no more streams run than may, none waits that could run, and no turn is lost", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), (steps) =>
      withTurns((turns) =>
        Effect.gen(function* () {
          // So many other streams run that a few more reach the limit of an address.
          const others = limits.addressStreams - MOST
          const scope = yield* Scope.make()
          for (const address of ["here", "there"])
            for (let other = 0; other < others; other++) yield* Scope.extend(turns.take(`${address} ${other}`, address), scope)
          const streams: Array<{ name: string; address: string; stream: Effect.Effect.Success<ReturnType<typeof open>> }> = []
          for (const next of steps) {
            if ("passes" in next) yield* TestClock.adjust(next.passes)
            else if ("ends" in next) yield* streams[next.ends]?.stream.end() ?? Effect.void
            else {
              const { key, address } = next
              streams.push({ name: key ?? `none, ${address}`, address, stream: yield* open(turns, key, address) })
            }
            const states = yield* statesOf(streams.map(({ stream }) => stream))
            const live = streams.map((one, index) => ({ ...one, state: one.stream.ended() ? "ended" : states[index] }))
            const count = (state: string, of: (one: (typeof live)[number]) => boolean) =>
              live.filter((one) => one.state === state && of(one)).length
            for (const { name, address, state } of live) {
              const ofName = count("runs", (one) => one.name === name)
              const ofAddress = others + count("runs", (one) => one.address === address)
              expect(ofName).toBeLessThanOrEqual(MOST)
              expect(ofAddress).toBeLessThanOrEqual(ALL)
              // A stream may have the turn of its key while it waits for the turn of its address.
              const withTurn = count("waits", (one) => one.name === name && one.address !== address)
              if (state === "waits") expect(ofName + withTurn >= MOST || ofAddress >= ALL).toBe(true)
            }
          }
          yield* Scope.close(scope, Exit.void)
          yield* Effect.forEach(streams, ({ stream }) => stream.end())
          const fresh = yield* Effect.forEach(["a", "a", "b", "b"], (key) => open(turns, key))
          expect(yield* statesOf(fresh)).toEqual(["runs", "runs", "runs", "runs"])
        })
      )
    ),
    { numRuns: 20 }
  )
}, 20_000)

describe("the memory of waiting streams is limited", () => {
  test("a stream is refused at once when too many wait before it", () =>
    withTurns((turns) =>
      Effect.gen(function* () {
        const streams = yield* Effect.forEach(Array.from({ length: MOST + limits.streamQueue + 1 }), () => open(turns, "k"))
        const states = yield* statesOf(streams)
        expect([states.at(-2), states.at(-1)]).toEqual(["waits", "refused"])
      })
    ))
  test("a name whose streams have all left is forgotten", () => {
    const lines = new StreamLines()
    const turns = Array.from({ length: 100 }, (_, index) => [`key ${index % 7}`, lines.join(`key ${index % 7}`, 3)!] as const)
    expect(lines.names).toBe(7)
    // They leave in an order that is neither that of arrival nor its reverse.
    for (const [name, turn] of turns.toSorted((_, [other]) => (other.endsWith("3") ? 1 : -1))) lines.leave(name, 3, turn)
    expect(lines.names).toBe(0)
  })
})
