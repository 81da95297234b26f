/** Who gets a source session, and when: leaders wait, streams give up, and further readers never delay either. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Data, Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { makeAdmission, type Admission } from "../../src/source/admission.ts"
import { withTestClock } from "../support/effect.ts"

setDefaultTimeout(30_000)

type Limits = Parameters<typeof makeAdmission>[0]
type Kind = "job" | "stream" | "reader"
class Broken extends Data.TaggedError("Broken")<{}> {}

/** Lets all fibers run until each of them waits for something. */
const settle = Effect.repeatN(Effect.yieldNow(), 30)

/** Asks for a session, and keeps it until the test lets it go on. */
class Client {
  /** `rests`: a further reader after its connection, in `after`. */
  state: "waits" | "holds" | "rests" | "busy" | "broken" | "gone" = "waits"
  fiber: Fiber.RuntimeFiber<void> | undefined
  readonly #used = Effect.runSync(Deferred.make<void, Broken>())
  readonly #rested = Effect.runSync(Deferred.make<void>())

  constructor(readonly kind: Kind) {}

  ask(admission: Admission): Effect.Effect<void> {
    const use = Effect.zipRight(this.#become("holds"), Deferred.await(this.#used))
    const after = Effect.zipRight(this.#become("rests"), Deferred.await(this.#rested))
    const acquire = this.kind === "job" ? admission.acquireForJob : admission.acquireForStream
    return (this.kind === "reader" ? admission.tryAcquireReader(use, after) : Effect.scoped(Effect.zipRight(acquire, use))).pipe(
      Effect.zipRight(this.#become("gone")),
      Effect.onInterrupt(() => this.#become("gone")),
      Effect.catchTags({ SourceBusy: () => this.#become("busy"), Broken: () => this.#become("broken") })
    )
  }

  #become(state: Client["state"]) {
    return Effect.sync(() => void (this.state = state))
  }

  readonly leave = Effect.zipRight(Deferred.succeed(this.#used, undefined), settle)
  readonly break = Effect.zipRight(Deferred.fail(this.#used, new Broken()), settle)
  readonly rest = Effect.zipRight(Deferred.succeed(this.#rested, undefined), settle)
  readonly interrupt = Effect.suspend(() => Effect.zipRight(Fiber.interrupt(this.fiber!), settle))
}

const statesOf = (clients: ReadonlyArray<Client>) => clients.map(({ state }) => state)
const streamsOf = ({ sessions, jobs }: Limits) => Math.max(1, sessions - jobs)

/** Runs `work` with an admission control of its own. In the end, as many sessions must be free as before. */
const withAdmission = (
  given: Limits,
  work: (begin: (kind: Kind) => Effect.Effect<Client>, admission: Admission) => Effect.Effect<void>
) =>
  withTestClock(
    Effect.gen(function* () {
      const admission = yield* makeAdmission(given)
      const begin = (kind: Kind) =>
        Effect.gen(function* () {
          const client = new Client(kind)
          client.fiber = yield* Effect.forkDaemon(client.ask(admission))
          begun.push(client)
          yield* settle
          return client
        })
      const begun: Array<Client> = []
      const leaveAll = Effect.suspend(() =>
        Effect.forEach(begun.splice(0), (client) => Effect.zipRight(client.leave, client.rest), { discard: true })
      )
      yield* work(begin, admission)
      // The waiting ones get their turn when others leave.
      yield* leaveAll
      expect(admission.shouldYield()).toBe(false)
      const most = {
        reader: Math.min(given.readers, given.sessions),
        stream: streamsOf(given),
        job: given.sessions
      }
      for (const kind of ["reader", "stream", "job"] as const) {
        const clients = yield* Effect.replicateEffect(begin(kind), most[kind])
        expect(statesOf(clients)).toEqual(clients.map(() => "holds"))
        yield* leaveAll
      }
    })
  )

describe("a leader", () => {
  test("waits for a free session as long as it takes, and gets it before those that came later", () =>
    withAdmission({ sessions: 2, jobs: 1, readers: 0 }, (begin, { shouldYield }) =>
      Effect.gen(function* () {
        const clients = yield* Effect.replicateEffect(begin("job"), 4)
        expect(statesOf(clients)).toEqual(["holds", "holds", "waits", "waits"])
        yield* TestClock.adjust("10 days")
        expect(statesOf(clients)).toEqual(["holds", "holds", "waits", "waits"])
        expect(shouldYield()).toBe(true)
        yield* clients[1]!.leave
        expect(statesOf(clients)).toEqual(["holds", "gone", "holds", "waits"])
        expect(shouldYield()).toBe(true)
        yield* clients[0]!.leave
        expect(statesOf(clients)).toEqual(["gone", "gone", "holds", "holds"])
        expect(shouldYield()).toBe(false)
      })
    ))

  test.each(["break", "interrupt"] as const)("whose work ends with %s gives its session to the next that waits", (end) =>
    withAdmission({ sessions: 1, jobs: 1, readers: 0 }, (begin) =>
      Effect.gen(function* () {
        const first = yield* begin("job")
        const second = yield* begin("job")
        yield* first[end]
        expect([first.state, second.state]).toEqual([end === "break" ? "broken" : "gone", "holds"])
      })
    )
  )

  test("that is interrupted while it waits takes no session later", () =>
    withAdmission({ sessions: 1, jobs: 1, readers: 1 }, (begin, { shouldYield }) =>
      Effect.gen(function* () {
        const [first, second, third] = yield* Effect.replicateEffect(begin("job"), 3)
        yield* second!.interrupt
        expect(shouldYield()).toBe(true)
        yield* third!.interrupt
        expect(shouldYield()).toBe(false)
        yield* first!.leave
        expect((yield* begin("reader")).state).toBe("holds")
      })
    ))

  test("that is interrupted at the moment when it gets a session gives it back", () =>
    Promise.all(
      Array.from({ length: 12 }, (_, turns) =>
        withAdmission({ sessions: 1, jobs: 0, readers: 1 }, (begin) =>
          Effect.gen(function* () {
            const first = yield* begin("job")
            const second = yield* begin(turns % 2 === 0 ? "job" : "stream")
            yield* Effect.fork(first.leave)
            for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow()
            yield* second.interrupt
            expect(statesOf([first, second])).toEqual(["gone", "gone"])
          })
        )
      )
    ))
})

describe("a stream", () => {
  test("gives up when no session is free within `streamAdmissionMs`", () =>
    withAdmission({ sessions: 1, jobs: 0, readers: 0 }, (begin, admission) =>
      Effect.gen(function* () {
        const leader = yield* begin("job")
        const stream = yield* begin("stream")
        yield* TestClock.adjust(limits.streamAdmissionMs - 1)
        expect(stream.state).toBe("waits")
        expect(admission.shouldYield()).toBe(true)
        yield* TestClock.adjust(1)
        expect(stream.state).toBe("busy")
        expect(admission.shouldYield()).toBe(false)
        const told = yield* Effect.fork(Effect.flip(Effect.scoped(admission.acquireForStream)))
        yield* TestClock.adjust(limits.streamAdmissionMs)
        expect(yield* Effect.orDie(Fiber.join(told))).toMatchObject({
          _tag: "SourceBusy",
          message: "Cannot start the export: all 1 source connections are in use"
        })
        yield* leader.leave
        expect(stream.state).toBe("busy")
      }).pipe(Effect.orDie)
    ))

  test("gets a session that becomes free within `streamAdmissionMs`, and keeps it", () =>
    withAdmission({ sessions: 1, jobs: 0, readers: 0 }, (begin) =>
      Effect.gen(function* () {
        const leader = yield* begin("job")
        const stream = yield* begin("stream")
        yield* TestClock.adjust(limits.streamAdmissionMs - 1)
        yield* leader.leave
        expect(stream.state).toBe("holds")
        yield* TestClock.adjust("1 day")
        expect(stream.state).toBe("holds")
      })
    ))

  test("leaves sessions to jobs, and makes nobody yield while it waits for other streams", () =>
    withAdmission({ sessions: 3, jobs: 1, readers: 1 }, (begin, { shouldYield }) =>
      Effect.gen(function* () {
        const streams = yield* Effect.replicateEffect(begin("stream"), 3)
        expect(statesOf(streams)).toEqual(["holds", "holds", "waits"])
        expect(shouldYield()).toBe(false)
        const extra = yield* begin("reader")
        expect(extra.state).toBe("holds")
        const job = yield* begin("job")
        expect([job.state, shouldYield()]).toEqual(["waits", true])
        yield* extra.leave
        expect([job.state, shouldYield()]).toEqual(["holds", false])
        yield* streams[0]!.leave
        expect(statesOf(streams)).toEqual(["gone", "holds", "holds"])
      })
    ))

  test("runs alone where the jobs may use all sessions", () =>
    withAdmission({ sessions: 2, jobs: 3, readers: 0 }, (begin) =>
      Effect.gen(function* () {
        const streams = yield* Effect.replicateEffect(begin("stream"), 2)
        expect(statesOf(streams)).toEqual(["holds", "waits"])
        expect((yield* begin("job")).state).toBe("holds")
      })
    ))
})

describe("a further reader", () => {
  test("begins only when a session is free, and otherwise neither works nor waits", () =>
    withAdmission({ sessions: 1, jobs: 1, readers: 1 }, (begin, { shouldYield }) =>
      Effect.gen(function* () {
        const leader = yield* begin("job")
        expect((yield* begin("reader")).state).toBe("gone")
        expect(shouldYield()).toBe(false)
        yield* leader.leave
        expect((yield* begin("reader")).state).toBe("holds")
      })
    ))

  test("does not take a session that was given back for one that waits", () =>
    withAdmission({ sessions: 1, jobs: 1, readers: 1 }, (begin, admission) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Scope.extend(admission.acquireForJob, scope)
        const leader = yield* begin("job")
        let came = false
        yield* Scope.close(scope, Exit.void)
        yield* admission.tryAcquireReader(Effect.sync(() => (came = true)).pipe(Effect.asVoid), Effect.void)
        expect(came).toBe(false)
        yield* settle
        expect(leader.state).toBe("holds")
      })
    ))

  test("counts as a further reader until its bytes are taken, while its session is free at once", () =>
    withAdmission({ sessions: 4, jobs: 1, readers: 2 }, (begin) =>
      Effect.gen(function* () {
        const readers = yield* Effect.replicateEffect(begin("reader"), 3)
        expect(statesOf(readers)).toEqual(["holds", "holds", "gone"])
        yield* readers[0]!.leave
        expect(readers[0]!.state).toBe("rests")
        expect((yield* begin("reader")).state).toBe("gone")
        const leaders = yield* Effect.replicateEffect(begin("job"), 3)
        expect(statesOf(leaders)).toEqual(["holds", "holds", "holds"])
        yield* leaders[0]!.leave
        yield* readers[0]!.rest
        expect((yield* begin("reader")).state).toBe("holds")
      })
    ))

  test.each(["break", "interrupt"] as const)("whose work ends with %s is free at once", (end) =>
    withAdmission({ sessions: 1, jobs: 1, readers: 1 }, (begin) =>
      Effect.gen(function* () {
        const extra = yield* begin("reader")
        yield* extra[end]
        expect(extra.state).toBe(end === "break" ? "broken" : "gone")
        expect((yield* begin("reader")).state).toBe("holds")
      })
    )
  )
})

const someLimits = fc.record({ sessions: fc.integer({ min: 1, max: 4 }), jobs: fc.nat(4), readers: fc.nat(3) })
const step = fc.record({
  verb: fc.constantFrom("job", "job", "stream", "stream", "reader", "leave", "leave", "break", "rest", "interrupt"),
  which: fc.nat(20)
} as const)

test("after any history no limit is exceeded, and nobody waits for a free session", () =>
  fc.assert(
    fc.asyncProperty(someLimits, fc.array(step, { maxLength: 40 }), (given, steps) =>
      withAdmission(given, (begin, { shouldYield }) =>
        Effect.gen(function* () {
          const clients: Array<Client> = []
          const count = (state: Client["state"], ...kinds: ReadonlyArray<Kind>) =>
            clients.filter((client) => client.state === state && kinds.includes(client.kind)).length
          for (const { verb, which } of steps) {
            if (verb === "job" || verb === "stream" || verb === "reader") clients.push(yield* begin(verb))
            else if (clients.length > 0) yield* clients[which % clients.length]![verb]
            const held = count("holds", "job", "stream", "reader")
            const streams = count("holds", "stream")
            const admitted = Math.min(streamsOf(given), streams + count("waits", "stream"))
            expect(held).toBeLessThanOrEqual(given.sessions)
            expect(streams).toBeLessThanOrEqual(streamsOf(given))
            expect(count("holds", "reader") + count("rests", "reader")).toBeLessThanOrEqual(given.readers)
            expect(count("waits", "reader")).toBe(0)
            expect(shouldYield()).toBe(count("waits", "job") > 0 || admitted > streams)
            if (shouldYield()) expect(held).toBe(given.sessions)
          }
        })
      )
    ),
    { numRuns: 200 }
  ))
