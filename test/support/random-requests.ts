/** Generates requests, valid and wrong, over the whole surface of the service. */
import * as fc from "fast-check"
import { body, encode, junk, often, query, words } from "./random-parameters.ts"
import type { RawRequest } from "./raw-http.ts"

/** What a client does with the answer. */
type Reading = "whole" | "slowly" | "abandoned" | "half-sent"
export interface RandomRequest extends RawRequest {
  readonly reading: Reading
  /** Bytes of the answer, or of its own request, after which the client leaves. */
  readonly bytes: number
}
/** Stands for the id of an export that was created before, and for the address of the service. */
export const EXPORT_ID = "00000000-0000-4000-8000-00000000e1d5"
export const SERVICE_HOST = "service.invalid"

const id = fc.oneof(often(8, fc.constant(EXPORT_ID)), often(1, junk.map(encode)), often(1, fc.uuid()))
const bases = words("/exports /api/v1/exports")
const target = fc.oneof(
  often(
    8,
    bases.map((base) => `${base}/csv`)
  ),
  often(2, bases),
  often(
    2,
    bases.map((base) => `${base}/estimate`)
  ),
  often(
    6,
    fc.tuple(bases, id, words("/status /download /events / /links /x")).map(([base, one, leaf]) => `${base}/${one}${leaf}`)
  ),
  often(
    2,
    fc.tuple(bases, id).map((parts) => parts.join("/"))
  ),
  often(
    1,
    words("/health /ready /datasets /api/v1/datasets /datasets/users /datasets/shop.things /metrics /openapi.json /docs / * //")
  ),
  often(
    1,
    fc.tuple(words("/datasets/ / /exports/ /api/"), junk.map(encode)).map((parts) => parts.join(""))
  )
)

/** Valid requests with filters that rows match, so that much is streamed, exported and downloaded. */
const rightFilters: Readonly<Record<string, ReadonlyArray<string>>> = {
  users: [
    "country_code=US",
    "lifetime_value=gte.100",
    "name=ilike.*a*",
    "or=(id.lt.500,email.like.*9*)",
    "signup_date=lt.now",
    "total=9"
  ],
  "shop.things": [
    "tags=cs.{1}",
    "doc->>a=eq.1",
    "name=fts.a",
    "count=not.is.null",
    "and=(id.gt.3,or(flag.is.true,code.like(any).{a*}))"
  ],
  "public.goods": [
    "n=gt.3",
    "words=ov.{a}",
    "doc->n=gt.1",
    "order_by=-n",
    "columns=n,note:Note,doc->>note",
    "price=in.(1,2,-3.75)"
  ],
  "shop.recent": ["columns=id,name", "total=300"],
  "shop.parts": ["note=match.^a", "order_by=id"],
  "shop.broken": ["id=lt.100", "columns=id,share"]
}
const rightOptions = fc.subarray(
  [
    "profile=excel",
    "formulas=escape-all",
    "quote=all",
    "timezone=Asia/Kolkata",
    "null=NULL",
    "binary=base64",
    "errorRow=true",
    "apiKey=k"
  ],
  { maxLength: 3 }
)
const rightQuery = fc
  .constantFrom(...Object.keys(rightFilters))
  .chain((dataset) =>
    fc
      .tuple(fc.subarray([...rightFilters[dataset]!], { maxLength: 2 }), rightOptions)
      .map((parts) => [`dataset=${dataset}`, ...parts.flat()].map((pair) => pair.replace(/[^=]*$/, encodeURIComponent)).join("&"))
  )
const unstreamed = (text: string) => text.replaceAll(/&(errorRow|apiKey)=\w+/g, "")
const right = fc.oneof(
  often(
    3,
    fc.tuple(bases, rightQuery).map(([base, text]) => ({ method: "GET", target: `${base}/csv?${text}` }))
  ),
  often(
    2,
    fc.tuple(bases, rightQuery).map(([base, text]) => ({ method: "POST", target: `${base}/csv?${unstreamed(text)}` }))
  ),
  fc.tuple(bases, rightQuery).map(([base, text]) => ({ method: "POST", target: `${base}/estimate?${unstreamed(text)}` })),
  often(
    4,
    fc
      .tuple(words("GET GET HEAD"), words("/download /download /status /events"))
      .map(([method, leaf]) => ({ method, target: `/exports/${EXPORT_ID}${leaf}` }))
  ),
  fc.constant({ method: "DELETE", target: `/exports/${EXPORT_ID}` }),
  fc.constant({ method: "GET", target: "/exports?limit=20" })
)

const tags = words(`* "x" W/"x" "x","y" x "`)
const header = fc.oneof(
  fc.tuple(
    fc.constant("Range"),
    words("bytes=0-0 bytes=0- bytes=-5 bytes=5-2 bytes=0-1,3-4 bytes=99999999999999999999- lines=1-2 bytes=")
  ),
  fc.tuple(words("If-None-Match If-Match If-Range"), tags),
  fc.tuple(words("If-Modified-Since If-Unmodified-Since If-Range"), fc.oneof(junk, fc.constant("Tue, 24 Nov 2026 12:00:00 GMT"))),
  often(4, fc.tuple(fc.constant("Accept-Encoding"), words("gzip zstd identity gzip;q=0 *;q=0 br,zstd;q=0.5,gzip;q=0.1 ;;;, *"))),
  fc.tuple(fc.constant("Want-Repr-Digest"), words("sha-256=1 sha-256=0 md5=3 x")),
  fc.tuple(fc.constant("Origin"), fc.oneof(fc.constant(`http://${SERVICE_HOST}`), words("null https://evil.example x"))),
  fc.tuple(
    fc.constant("Host"),
    fc.oneof(often(3, fc.constant(SERVICE_HOST)), often(1, words("localhost evil.example 127.0.0.1:1 [::1] @")))
  ),
  fc.tuple(
    words("X-API-Key Authorization Last-Event-ID Accept Cookie X-Request-Id traceparent Expect Idempotency-Key X-Forwarded-For"),
    junk
  ),
  fc.tuple(
    fc.constant("Content-Type"),
    words("application/json text/plain application/x-www-form-urlencoded application/json;charset=utf-16 x")
  )
)
const visible = (text: string) => text.toWellFormed().replaceAll(/[^\u0020-\u007e\u00a1-\u00ff]/g, "?")
const headers = fc
  .array(header, { maxLength: 4 })
  .map((all) => Object.fromEntries(all.map(([name, text]) => [name, visible(text)])))

/** Sometimes changes a character of a target, for mistakes that no grammar foresees. */
const mutated = (text: fc.Arbitrary<string>) =>
  fc.oneof(
    often(9, text),
    often(
      1,
      fc
        .tuple(text, fc.nat(), fc.constantFrom(...Array.from("()[]{}.,:*%&=?#;+-'\"\\/0aé")))
        .map(([whole, position, character]) => {
          const at = 1 + (position % whole.length)
          return (whole.slice(0, at) + encodeURI(character) + whole.slice(at + 1)).replaceAll(" ", "%20")
        })
    )
  )

const method = fc.oneof(
  often(12, fc.constant("GET")),
  often(3, fc.constant("POST")),
  words("HEAD DELETE"),
  words("PUT PATCH OPTIONS TRACE")
)

const anything = fc
  .record({
    method,
    target: mutated(fc.tuple(target, query).map(([place, text]) => (text === "" ? place : `${place}?${text}`))),
    headers,
    body,
    chunked: fc.boolean()
  })
  .map(({ body: content, chunked, ...request }) =>
    request.method === "GET" || request.method === "HEAD" ? request : { ...request, body: content, chunked }
  )
const someRight = fc
  .record({ what: right, headers: fc.oneof(often(2, fc.constant({})), often(1, headers)) })
  .map(({ what, headers: fields }) => {
    return { ...what, headers: fields }
  })

/** Valid requests, wrong ones, and some whose clients leave in the middle. */
export const randomRequest: fc.Arbitrary<RandomRequest> = fc
  .record({
    request: fc.oneof(often(1, someRight), often(1, anything)),
    version: fc.oneof(often(12, fc.constant("1.1" as const)), often(1, fc.constant("1.0" as const))),
    reading: fc.oneof(
      often(12, fc.constant("whole" as const)),
      often(1, fc.constant("slowly" as const)),
      often(3, fc.constant("abandoned" as const)),
      often(1, fc.constant("half-sent" as const))
    ),
    bytes: fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 2_000_000 }))
  })
  .map(({ request, ...rest }) => ({ ...request, ...rest, ...(rest.version === "1.0" && { chunked: false }) }))
