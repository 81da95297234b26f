interface Validators {
  /** A strong entity tag, with its quotes. */
  readonly etag: string
  /** Undefined for what has no such time: preconditions with a time are then ignored (RFC 9110 §13.1.3). */
  readonly lastModified?: Date
}

/** Evaluates the preconditions of a GET or HEAD, in the order of RFC 9110 §13.2.2. */
export const evaluatePreconditions = (
  headers: Headers,
  { etag, lastModified }: Validators
): "go on" | "not modified" | "failed" => {
  const ifMatch = headers.get("If-Match")
  const ifUnmodifiedSince = seconds(headers.get("If-Unmodified-Since"))
  const ifNoneMatch = headers.get("If-None-Match")
  const ifModifiedSince = seconds(headers.get("If-Modified-Since"))
  const modified = lastModified && Math.floor(lastModified.getTime() / 1000)

  if (ifMatch !== null) {
    if (!matches(ifMatch, etag, "strong")) return "failed"
  } else if (ifUnmodifiedSince !== undefined && modified !== undefined && modified > ifUnmodifiedSince) return "failed"

  if (ifNoneMatch !== null) return matches(ifNoneMatch, etag, "weak") ? "not modified" : "go on"
  return ifModifiedSince !== undefined && modified !== undefined && modified <= ifModifiedSince ? "not modified" : "go on"
}

/** Says whether If-Range lets a range be sent (RFC 9110 §13.1.5). Entity tags are compared strongly, and dates exactly. */
export const rangeStillValid = (headers: Headers, { etag, lastModified }: Validators): boolean => {
  const ifRange = headers.get("If-Range")
  if (ifRange === null) return true
  if (ifRange.trim().endsWith('"')) return ifRange.trim() === etag
  return lastModified !== undefined && seconds(ifRange) === Math.floor(lastModified.getTime() / 1000)
}

/** Says whether a list contains an entity tag. The list is `*`, or has items `"…"` and `W/"…"`; a quoted comma splits none. */
const matches = (list: string, etag: string, comparison: "strong" | "weak"): boolean => {
  if (list.trim() === "*") return true
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? []
  return tags.some((tag) => (comparison === "weak" ? tag.replace(/^W\//, "") : tag) === etag)
}

/** Matches the three forms of an HTTP-date (RFC 9110 §5.6.7). The last one has no zone and means UTC. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/
const seconds = (date: string | null): number | undefined => {
  const text = date?.trim() ?? ""
  const time = HTTP_DATE.test(text) ? Date.parse(text.endsWith("GMT") ? text : `${text} GMT`) : Number.NaN
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}
