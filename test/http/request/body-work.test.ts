import { expect, test } from "bun:test"
import { Effect, Exit, Fiber, Scope, TestClock } from "effect"
import { makeBodyWork } from "../../../src/http/request/body-work.ts"
import { settled, withTestClock } from "../../support/effect.ts"

const limits = { bodyWorkBytes: 100, bodyWaitBytes: 150, bodyWaitMs: 1_000 }

/** Takes room for a body until its scope closes, as a request does. */
const open = (work: ReturnType<typeof makeBodyWork>, bytes: number) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const fiber = yield* Effect.fork(Effect.either(Scope.extend(work(bytes), scope)))
    yield* settled
    const outcome = Effect.map(Fiber.poll(fiber), (exit) => {
      if (exit._tag === "None") return "waits"
      return Exit.isSuccess(exit.value) ? exit.value.value._tag : "interrupted"
    })
    return { outcome, end: Scope.close(scope, Exit.void), leave: Fiber.interrupt(fiber) }
  })

test("bodies are worked on while there is room, further ones wait for room, and more than may wait are refused at once", () =>
  withTestClock(
    Effect.gen(function* () {
      const work = makeBodyWork(limits)
      const [first, second, third] = [yield* open(work, 60), yield* open(work, 60), yield* open(work, 60)]
      const fourth = yield* open(work, 60)
      expect([yield* first.outcome, yield* second.outcome, yield* third.outcome, yield* fourth.outcome]).toEqual([
        "Right",
        "waits",
        "waits",
        "Left"
      ])
      // A body that leaves while it waits takes no room with it.
      yield* second.leave
      yield* first.end
      yield* settled
      expect(yield* third.outcome).toBe("Right")
      yield* third.end
      expect(yield* (yield* open(work, 100)).outcome).toBe("Right")
    })
  ))

test("a body that waits too long is refused, and its place becomes free", () =>
  withTestClock(
    Effect.gen(function* () {
      const work = makeBodyWork(limits)
      const first = yield* open(work, 100)
      const second = yield* open(work, 100)
      yield* TestClock.adjust(limits.bodyWaitMs)
      expect(yield* second.outcome).toBe("Left")
      const third = yield* open(work, 100)
      yield* first.end
      yield* settled
      expect(yield* third.outcome).toBe("Right")
    })
  ))
