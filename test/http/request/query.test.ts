/** A refusal lists every field that is wrong, up to a limit. */
import { expect, test } from "bun:test"
import { Effect, Schema } from "effect"
import { invalid, queryDecoder } from "../../../src/http/request/query.ts"
import { limits } from "../../../src/limits.ts"

const wrong = (count: number) => Array.from({ length: count }, (_, n) => ({ field: `f${n}`, detail: "is wrong" }))

test("as many fields as an answer lists are all listed", () => {
  expect(invalid(wrong(limits.wrongFields)).errors).toEqual(wrong(limits.wrongFields))
})

test("of further fields the last entry says how many there are", () => {
  for (const [more, said] of [
    [1, "1 more field is wrong"],
    [400, "400 more fields are wrong"]
  ] as const)
    expect(invalid(wrong(limits.wrongFields + more)).errors).toEqual([...wrong(limits.wrongFields), { field: "*", detail: said }])
})

test("the sentence names the first 20 fields and says how many more are wrong", () => {
  expect(invalid(wrong(2)).detail).toBe("f0 is wrong; f1 is wrong")
  const sentences = invalid(wrong(150)).detail.split("; ")
  expect(sentences).toHaveLength(21)
  expect(sentences.at(-1)).toBe("130 more fields are wrong")
})

test("a field with several problems is listed once, with the first", () => {
  expect(invalid([...wrong(2), { field: "f0", detail: "is unknown" }]).errors).toEqual(wrong(2))
})

test("each wrong parameter of a query is found, whatever is wrong with the others", async () => {
  const Limit = Schema.Struct({ limit: Schema.optionalWith(Schema.NumberFromString, { exact: true }) })
  const names = Array.from({ length: 60 }, (_, n) => `f${n}`)
  const query = names.map((name, n) => `${name}=${n % 3 === 0 ? "" : n % 3 === 1 ? "%zz" : "1"}`).join("&")
  const url = new URL(`http://localhost/?limit=x&${query}`)
  const { errors = [] } = await Effect.runPromise(Effect.flip(queryDecoder(Limit)(url)))
  expect(errors.map(({ field }) => field).toSorted()).toEqual([...names, "limit"].toSorted())
})
