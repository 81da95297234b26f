import { expect, test } from "bun:test"
import { makeBodyReader } from "../../../src/http/request/request-body.ts"

const limits = { bodyBytes: 100, bodyMs: 60_000, bodiesBytes: 250, bodyLeastBytes: 50 }

/** A body that has these chunks, and ends unless it is to wait for more. */
const bodyOf = (chunks: ReadonlyArray<number>, ends = true) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const length of chunks) controller.enqueue(new Uint8Array(length))
      if (ends) controller.close()
    }
  })

test("a body of at most the limit is read, and a larger one is refused before it ends", async () => {
  const read = makeBodyReader(limits)
  expect(await read(null)).toHaveLength(0)
  expect(await read(bodyOf([40, 0, 60]))).toHaveLength(100)
  expect(await read(bodyOf([40, 61], false))).toBe("too large")
})

test("a body that does not end in time is refused", async () => {
  const read = makeBodyReader({ ...limits, bodyMs: 20 })
  expect(await read(bodyOf([10], false))).toBe("too slow")
})

test("a body that breaks off is distinguished from a complete one", async () => {
  const read = makeBodyReader(limits)
  const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("the client left")) })
  expect(await read(broken)).toBe("ended early")
})

test("the oldest arriving body is refused when arriving bodies are too many, or too large together; complete ones do not count", async () => {
  const read = makeBodyReader(limits)
  const [first, second] = [read(bodyOf([90], false)), read(bodyOf([90], false))]
  // The third body finds room at first, and then takes more than there is.
  expect(await read(bodyOf([60]))).toHaveLength(60)
  expect(await read(bodyOf([90]))).toHaveLength(90)
  expect(await first).toBe("crowded out")
  const small = Array.from({ length: 4 }, () => read(bodyOf([1], false)))
  expect(await second).toBe("crowded out")
  const fifth = read(bodyOf([1], false))
  const sixth = read(bodyOf([1], false))
  expect(await small[0]).toBe("crowded out")
  const outcome = await Promise.race([fifth, sixth, small[1], Promise.resolve("arriving")])
  expect(outcome).toBe("arriving")
})
