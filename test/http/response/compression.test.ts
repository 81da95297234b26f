import { describe, expect, test } from "bun:test"
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import * as fc from "fast-check"
import { compress, negotiateCoding, type ContentCoding } from "../../../src/http/response/compression.ts"

const negotiate = (header?: string) => negotiateCoding(new Headers(header === undefined ? {} : { "Accept-Encoding": header }))

describe("Accept-Encoding picks the coding (RFC 9110 §12.5.3)", () => {
  test("no header: identity", () => {
    expect(negotiate()).toBe("identity")
  })
  test.each<[string, ContentCoding]>([
    ["gzip, deflate, br", "gzip"],
    ["gzip, deflate, br, zstd", "zstd"],
    ["  GZIP\t", "gzip"],
    ["zstd;q=0.2, gzip ; q=0.8", "gzip"],
    ["identity, gzip;q=0.5", "identity"],
    ["gzip;q=0.000, *", "zstd"],
    ["identity, *;q=0", "identity"],
    ["br", "identity"],
    // Nothing is acceptable: RFC 9110 lets the server send identity all the same.
    ["*;q=0", "identity"],
    ["gzip zstd", "identity"]
  ])("%p is answered with %s", (header, expected) => {
    expect(negotiate(header)).toBe(expected)
  })
  test("a malformed part leaves the other parts valid", () => {
    expect(negotiate("gzip, ;q=1, @@@")).toBe("gzip")
    expect(negotiate(",gzip,,")).toBe("gzip")
    expect(negotiate("zstd;q=abc, gzip")).toBe("gzip")
  })
})

test("the coding depends on the quality values alone, not on their order", () => {
  const q = fc.constantFrom("0", "0.1", "0.25", "0.5", "0.75", "1")
  fc.assert(
    fc.property(q, q, q, fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), (gzip, zstd, identity, order) => {
      const parts = [`gzip;q=${gzip}`, `zstd;q=${zstd}`, `identity;q=${identity}`, "br"]
      const best = Math.max(Number(gzip), Number(zstd), Number(identity))
      const liked = Number(zstd) === best ? "zstd" : Number(gzip) === best ? "gzip" : "identity"
      expect(negotiate(order.map((index) => parts[index]).join(", "))).toBe(best === 0 ? "identity" : liked)
    })
  )
})

test("any header gets one of the three codings", () => {
  const text = fc.string({ unit: "grapheme-ascii" }).filter((value) => !/[\r\n\0]/.test(value))
  fc.assert(fc.property(text, (header) => expect(["identity", "gzip", "zstd"]).toContain(negotiate(header))))
})

test("a compression asks for the next chunk only when the buffer of the previous one may be filled again", async () => {
  const buffers = fc.array(fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 300_000 })), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(buffers, fc.constantFrom("gzip", "zstd"), fc.nat(3), async (lengths, coding, turns) => {
      const sent: Array<Buffer> = []
      let given: Buffer | undefined
      const plain = new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            given?.fill(0xa5)
            if (sent.length === lengths.length) return controller.close()
            given = Buffer.from(
              Uint32Array.from({ length: lengths[sent.length]! }, (_, at) => (at + sent.length) * 2654435761).buffer
            )
            sent.push(Buffer.from(given))
            controller.enqueue(given)
          }
        },
        { highWaterMark: 0 }
      )
      const received: Array<Uint8Array> = []
      for await (const chunk of compress(plain, coding, 2)) {
        received.push(chunk)
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
      }
      const decoded = (coding === "gzip" ? gunzipSync : zstdDecompressSync)(Buffer.concat(received))
      expect(decoded.equals(Buffer.concat(sent))).toBe(true)
    }),
    { numRuns: 60 }
  )
})
