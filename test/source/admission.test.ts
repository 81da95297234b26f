/** Who gets a source connection, and when: leads that wait, streams that give up, helpers that are not in the way. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { Data, Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import { makeAdmission, type Connections } from "../../src/source/admission.ts"
import { withTestClock } from "../support/effect.ts"

setDefaultTimeout(30_000)

type Bounds = Parameters<typeof makeAdmission>[0]
type Kind = "lead" | "acquireForStream" | "helper"
class Broken extends Data.TaggedError("Broken")<{}> {}

/** Lets all fibers go on until each of them waits for something. */
const settle = Effect.repeatN(Effect.yieldNow(), 30)

/** Asks for a connection and keeps what it gets until it is told to go on. */
class Client {
  /** `rests`: a helper after its connection, in `after`. */
  state: "waits" | "holds" | "rests" | "busy" | "broken" | "gone" = "waits"
  fiber: Fiber.RuntimeFiber<void> | undefined
  readonly #used = Effect.runSync(Deferred.make<void, Broken>())
  readonly #rested = Effect.runSync(Deferred.make<void>())

  constructor(readonly kind: Kind) {}

  ask(connections: Connections): Effect.Effect<void> {
    const use = Effect.zipRight(this.#become("holds"), Deferred.await(this.#used))
    const after = Effect.zipRight(this.#become("rests"), Deferred.await(this.#rested))
    const lead = this.kind === "lead" ? connections.lead : connections.acquireForStream
    return (this.kind === "helper" ? connections.helper(use, after) : Effect.scoped(Effect.zipRight(lead, use))).pipe(
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
const streamsOf = ({ connections, jobs }: Bounds) => Math.max(1, connections - jobs)

/** Runs `work` with connections of their own; when all have left, as many are to be had as before. */
const withConnections = (
  given: Bounds,
  work: (begin: (kind: Kind) => Effect.Effect<Client>, connections: Connections) => Effect.Effect<void>
) =>
  withTestClock(
    Effect.gen(function* () {
      const connections = yield* makeAdmission(given)
      const begin = (kind: Kind) =>
        Effect.gen(function* () {
          const client = new Client(kind)
          client.fiber = yield* Effect.forkDaemon(client.ask(connections))
          begun.push(client)
          yield* settle
          return client
        })
      const begun: Array<Client> = []
      const leaveAll = Effect.suspend(() =>
        Effect.forEach(begun.splice(0), (client) => Effect.zipRight(client.leave, client.rest), { discard: true })
      )
      yield* work(begin, connections)
      // Those that wait get their turn when others leave.
      yield* leaveAll
      expect(connections.wanted()).toBe(false)
      const most = {
        helper: Math.min(given.helpers, given.connections),
        acquireForStream: streamsOf(given),
        lead: given.connections
      }
      for (const kind of ["helper", "acquireForStream", "lead"] as const) {
        const clients = yield* Effect.replicateEffect(begin(kind), most[kind])
        expect(statesOf(clients)).toEqual(clients.map(() => "holds"))
        yield* leaveAll
      }
    })
  )

describe("a lead", () => {
  test("waits until a connection is free, as long as it takes, and gets it before those that came later", () =>
    withConnections({ connections: 2, jobs: 1, helpers: 0 }, (begin, { wanted }) =>
      Effect.gen(function* () {
        const clients = yield* Effect.replicateEffect(begin("lead"), 4)
        expect(statesOf(clients)).toEqual(["holds", "holds", "waits", "waits"])
        yield* TestClock.adjust("10 days")
        expect(statesOf(clients)).toEqual(["holds", "holds", "waits", "waits"])
        expect(wanted()).toBe(true)
        yield* clients[1]!.leave
        expect(statesOf(clients)).toEqual(["holds", "gone", "holds", "waits"])
        expect(wanted()).toBe(true)
        yield* clients[0]!.leave
        expect(statesOf(clients)).toEqual(["gone", "gone", "holds", "holds"])
        expect(wanted()).toBe(false)
      })
    ))

  test.each(["break", "interrupt"] as const)("whose work ends with %s gives its connection to who waits", (end) =>
    withConnections({ connections: 1, jobs: 1, helpers: 0 }, (begin) =>
      Effect.gen(function* () {
        const first = yield* begin("lead")
        const second = yield* begin("lead")
        yield* first[end]
        expect([first.state, second.state]).toEqual([end === "break" ? "broken" : "gone", "holds"])
      })
    )
  )

  test("that is interrupted while it waits leaves nothing behind", () =>
    withConnections({ connections: 1, jobs: 1, helpers: 1 }, (begin, { wanted }) =>
      Effect.gen(function* () {
        const [first, second, third] = yield* Effect.replicateEffect(begin("lead"), 3)
        yield* second!.interrupt
        expect(wanted()).toBe(true)
        yield* third!.interrupt
        expect(wanted()).toBe(false)
        yield* first!.leave
        expect((yield* begin("helper")).state).toBe("holds")
      })
    ))

  test("that is interrupted in the moment it gets a connection loses none", () =>
    Promise.all(
      Array.from({ length: 12 }, (_, turns) =>
        withConnections({ connections: 1, jobs: 0, helpers: 1 }, (begin) =>
          Effect.gen(function* () {
            const first = yield* begin("lead")
            const second = yield* begin(turns % 2 === 0 ? "lead" : "acquireForStream")
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
  test("gives up when no connection was free for the time of admission", () =>
    withConnections({ connections: 1, jobs: 0, helpers: 0 }, (begin, connections) =>
      Effect.gen(function* () {
        const lead = yield* begin("lead")
        const stream = yield* begin("acquireForStream")
        yield* TestClock.adjust(limits.streamAdmissionMs - 1)
        expect(stream.state).toBe("waits")
        expect(connections.wanted()).toBe(true)
        yield* TestClock.adjust(1)
        expect(stream.state).toBe("busy")
        expect(connections.wanted()).toBe(false)
        const told = yield* Effect.fork(Effect.flip(Effect.scoped(connections.acquireForStream)))
        yield* TestClock.adjust(limits.streamAdmissionMs)
        expect(yield* Effect.orDie(Fiber.join(told))).toMatchObject({
          _tag: "SourceBusy",
          message: "Cannot start the export: all 1 source connections are in use"
        })
        yield* lead.leave
        expect(stream.state).toBe("busy")
      }).pipe(Effect.orDie)
    ))

  test("gets what is free within the time of admission, and keeps it", () =>
    withConnections({ connections: 1, jobs: 0, helpers: 0 }, (begin) =>
      Effect.gen(function* () {
        const lead = yield* begin("lead")
        const stream = yield* begin("acquireForStream")
        yield* TestClock.adjust(limits.streamAdmissionMs - 1)
        yield* lead.leave
        expect(stream.state).toBe("holds")
        yield* TestClock.adjust("1 day")
        expect(stream.state).toBe("holds")
      })
    ))

  test("leaves connections to jobs, and asks nobody to go when it waits for other streams", () =>
    withConnections({ connections: 3, jobs: 1, helpers: 1 }, (begin, { wanted }) =>
      Effect.gen(function* () {
        const streams = yield* Effect.replicateEffect(begin("acquireForStream"), 3)
        expect(statesOf(streams)).toEqual(["holds", "holds", "waits"])
        expect(wanted()).toBe(false)
        const helper = yield* begin("helper")
        expect(helper.state).toBe("holds")
        const job = yield* begin("lead")
        expect([job.state, wanted()]).toEqual(["waits", true])
        yield* helper.leave
        expect([job.state, wanted()]).toEqual(["holds", false])
        yield* streams[0]!.leave
        expect(statesOf(streams)).toEqual(["gone", "holds", "holds"])
      })
    ))

  test("is let in alone where the jobs may use all connections", () =>
    withConnections({ connections: 2, jobs: 3, helpers: 0 }, (begin) =>
      Effect.gen(function* () {
        const streams = yield* Effect.replicateEffect(begin("acquireForStream"), 2)
        expect(statesOf(streams)).toEqual(["holds", "waits"])
        expect((yield* begin("lead")).state).toBe("holds")
      })
    ))
})

describe("a helper", () => {
  test("comes only when a connection is free, and neither works nor waits else", () =>
    withConnections({ connections: 1, jobs: 1, helpers: 1 }, (begin, { wanted }) =>
      Effect.gen(function* () {
        const lead = yield* begin("lead")
        expect((yield* begin("helper")).state).toBe("gone")
        expect(wanted()).toBe(false)
        yield* lead.leave
        expect((yield* begin("helper")).state).toBe("holds")
      })
    ))

  test("does not take what was given back before the one who waits for it has it", () =>
    withConnections({ connections: 1, jobs: 1, helpers: 1 }, (begin, connections) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Scope.extend(connections.lead, scope)
        const lead = yield* begin("lead")
        let came = false
        yield* Scope.close(scope, Exit.void)
        yield* connections.helper(Effect.sync(() => (came = true)).pipe(Effect.asVoid), Effect.void)
        expect(came).toBe(false)
        yield* settle
        expect(lead.state).toBe("holds")
      })
    ))

  test("is one of as many as may be, until what it let wait is taken, while its connection is free at once", () =>
    withConnections({ connections: 4, jobs: 1, helpers: 2 }, (begin) =>
      Effect.gen(function* () {
        const helpers = yield* Effect.replicateEffect(begin("helper"), 3)
        expect(statesOf(helpers)).toEqual(["holds", "holds", "gone"])
        yield* helpers[0]!.leave
        expect(helpers[0]!.state).toBe("rests")
        expect((yield* begin("helper")).state).toBe("gone")
        const leads = yield* Effect.replicateEffect(begin("lead"), 3)
        expect(statesOf(leads)).toEqual(["holds", "holds", "holds"])
        yield* leads[0]!.leave
        yield* helpers[0]!.rest
        expect((yield* begin("helper")).state).toBe("holds")
      })
    ))

  test.each(["break", "interrupt"] as const)("whose work ends with %s is free at once", (end) =>
    withConnections({ connections: 1, jobs: 1, helpers: 1 }, (begin) =>
      Effect.gen(function* () {
        const helper = yield* begin("helper")
        yield* helper[end]
        expect(helper.state).toBe(end === "break" ? "broken" : "gone")
        expect((yield* begin("helper")).state).toBe("holds")
      })
    )
  )
})

const someBounds = fc.record({ connections: fc.integer({ min: 1, max: 4 }), jobs: fc.nat(4), helpers: fc.nat(3) })
const step = fc.record({
  verb: fc.constantFrom(
    "lead",
    "lead",
    "acquireForStream",
    "acquireForStream",
    "helper",
    "leave",
    "leave",
    "break",
    "rest",
    "interrupt"
  ),
  which: fc.nat(20)
} as const)

test("whatever comes and goes, no bound is exceeded, and nobody waits for what is free", () =>
  fc.assert(
    fc.asyncProperty(someBounds, fc.array(step, { maxLength: 40 }), (given, steps) =>
      withConnections(given, (begin, { wanted }) =>
        Effect.gen(function* () {
          const clients: Array<Client> = []
          const count = (state: Client["state"], ...kinds: ReadonlyArray<Kind>) =>
            clients.filter((client) => client.state === state && kinds.includes(client.kind)).length
          for (const { verb, which } of steps) {
            if (verb === "lead" || verb === "acquireForStream" || verb === "helper") clients.push(yield* begin(verb))
            else if (clients.length > 0) yield* clients[which % clients.length]![verb]
            const held = count("holds", "lead", "acquireForStream", "helper")
            const streams = count("holds", "acquireForStream")
            const admitted = Math.min(streamsOf(given), streams + count("waits", "acquireForStream"))
            expect(held).toBeLessThanOrEqual(given.connections)
            expect(streams).toBeLessThanOrEqual(streamsOf(given))
            expect(count("holds", "helper") + count("rests", "helper")).toBeLessThanOrEqual(given.helpers)
            expect(count("waits", "helper")).toBe(0)
            expect(wanted()).toBe(count("waits", "lead") > 0 || admitted > streams)
            if (wanted()) expect(held).toBe(given.connections)
          }
        })
      )
    ),
    { numRuns: 200 }
  ))
