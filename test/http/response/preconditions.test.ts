import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { evaluatePreconditions, rangeStillValid } from "../../../src/http/response/preconditions.ts"

const TAG = '"6c1e-5f3a9b21"'
const DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
const BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
const AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
/** Last-Modified has whole seconds, and the time of the file is finer. */
const validators = { etag: TAG, lastModified: new Date("1994-11-06T08:49:37.640Z") }

type Answer = ReturnType<typeof evaluatePreconditions>
const rows = (cases: ReadonlyArray<[Record<string, string>, Answer]>) => {
  for (const [headers, expected] of cases) {
    const title = Object.entries(headers).map((header) => header.join(": "))
    test(`${title.join(" and ")} → ${expected}`, () => {
      expect(evaluatePreconditions(new Headers(headers), validators)).toBe(expected)
    })
  }
}

test("without preconditions the request goes on", () => {
  expect(evaluatePreconditions(new Headers(), validators)).toBe("go on")
})

describe("If-Match compares strongly (RFC 9110 §13.1.1)", () => {
  rows([
    [{ "If-Match": TAG }, "go on"],
    [{ "If-Match": "*" }, "go on"],
    [{ "If-Match": ` ${TAG} ` }, "go on"],
    [{ "If-Match": `"a", ${TAG}, "b"` }, "go on"],
    [{ "If-Match": `"a",${TAG}` }, "go on"],
    [{ "If-Match": `, ,${TAG}, ` }, "go on"],
    [{ "If-Match": `"with, comma", ${TAG}` }, "go on"],
    [{ "If-Match": `W/"weak", ${TAG}` }, "go on"],
    [{ "If-Match": '"other"' }, "failed"],
    [{ "If-Match": `W/${TAG}` }, "failed"],
    [{ "If-Match": `"a", W/${TAG}` }, "failed"],
    [{ "If-Match": TAG.slice(1, -1) }, "failed"],
    [{ "If-Match": TAG.toUpperCase() }, "failed"],
    [{ "If-Match": '""' }, "failed"],
    [{ "If-Match": "" }, "failed"]
  ])
})

describe("If-None-Match compares weakly (RFC 9110 §13.1.2)", () => {
  rows([
    [{ "If-None-Match": TAG }, "not modified"],
    [{ "If-None-Match": `W/${TAG}` }, "not modified"],
    [{ "If-None-Match": "*" }, "not modified"],
    [{ "If-None-Match": " * " }, "not modified"],
    [{ "If-None-Match": `"a", ${TAG}` }, "not modified"],
    [{ "If-None-Match": `W/"a",W/${TAG},"b"` }, "not modified"],
    [{ "If-None-Match": '"other"' }, "go on"],
    [{ "If-None-Match": '"other", W/"another"' }, "go on"],
    [{ "If-None-Match": TAG.slice(1, -1) }, "go on"],
    // A `*` beside tags has no meaning.
    [{ "If-None-Match": '"*"' }, "go on"],
    [{ "If-None-Match": "" }, "go on"]
  ])
})

describe("If-Unmodified-Since (RFC 9110 §13.1.4)", () => {
  rows([
    [{ "If-Unmodified-Since": DATE }, "go on"],
    [{ "If-Unmodified-Since": AFTER }, "go on"],
    [{ "If-Unmodified-Since": BEFORE }, "failed"],
    [{ "If-Unmodified-Since": "yesterday" }, "go on"],
    [{ "If-Unmodified-Since": "" }, "go on"],
    [{ "If-Unmodified-Since": "1994-11-06" }, "go on"]
  ])
})

describe("If-Modified-Since (RFC 9110 §13.1.3)", () => {
  rows([
    [{ "If-Modified-Since": DATE }, "not modified"],
    [{ "If-Modified-Since": AFTER }, "not modified"],
    [{ "If-Modified-Since": BEFORE }, "go on"],
    // A value that is no HTTP-date is ignored, even if it is a date in another format.
    [{ "If-Modified-Since": "tomorrow" }, "go on"],
    [{ "If-Modified-Since": "" }, "go on"],
    [{ "If-Modified-Since": "2026" }, "go on"],
    [{ "If-Modified-Since": "2026-11-21T00:00:00Z" }, "go on"]
  ])
})

describe("the order of preconditions (RFC 9110 §13.2.2)", () => {
  rows([
    // If-Match decides, and If-Unmodified-Since beside it is ignored.
    [{ "If-Match": TAG, "If-Unmodified-Since": BEFORE }, "go on"],
    [{ "If-Match": '"other"', "If-Unmodified-Since": AFTER }, "failed"],
    // If-None-Match decides, and If-Modified-Since beside it is ignored.
    [{ "If-None-Match": '"other"', "If-Modified-Since": AFTER }, "go on"],
    [{ "If-None-Match": TAG, "If-Modified-Since": BEFORE }, "not modified"],
    // The conditions for 412 come before those for 304.
    [{ "If-Match": '"other"', "If-None-Match": TAG }, "failed"],
    [{ "If-Match": TAG, "If-None-Match": TAG }, "not modified"],
    [{ "If-Match": TAG, "If-None-Match": '"other"' }, "go on"],
    [{ "If-Unmodified-Since": BEFORE, "If-None-Match": TAG }, "failed"],
    [{ "If-Unmodified-Since": DATE, "If-Modified-Since": DATE }, "not modified"]
  ])
})

describe("If-Range (RFC 9110 §13.1.5)", () => {
  test.each([
    [TAG, true],
    [` ${TAG} `, true],
    [DATE, true],
    [`W/${TAG}`, false],
    ['"other"', false],
    [`"other", ${TAG}`, false],
    [TAG.slice(1, -1), false],
    ["*", false],
    ["", false],
    // A date is compared for equality, not for order.
    [BEFORE, false],
    [AFTER, false],
    ["tomorrow", false]
  ])("%p: %p", (ifRange, expected) => {
    expect(rangeStillValid(new Headers({ "If-Range": ifRange }), validators)).toBe(expected)
  })
  test("a request without If-Range gets its range", () => {
    expect(rangeStillValid(new Headers(), validators)).toBe(true)
  })
})

describe("all three forms of an HTTP-date are read as UTC, wherever the server stands (RFC 9110 §5.6.7)", () => {
  const zone = process.env["TZ"]
  beforeAll(() => {
    process.env["TZ"] = "America/New_York"
  })
  afterAll(() => {
    if (zone === undefined) delete process.env["TZ"]
    else process.env["TZ"] = zone
  })
  test.each([DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])("%p", (date) => {
    expect(evaluatePreconditions(new Headers({ "If-Modified-Since": date }), validators)).toBe("not modified")
    expect(rangeStillValid(new Headers({ "If-Range": date }), validators)).toBe(true)
  })
})
