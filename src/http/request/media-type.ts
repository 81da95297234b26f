import { Effect } from "effect"
import { UnsupportedMediaType } from "../failures.ts"

/** Says whether a Content-Type is JSON in UTF-8, which RFC 8259 §8.1 requires; other parameters are ignored. */
const isJson = (type: string): boolean => {
  const [name = "", ...parameters] = type.toLowerCase().split(";")
  if (name.trim() !== "application/json") return false
  return parameters.every((parameter) => {
    const [key = "", value = ""] = parameter.split("=")
    return key.trim() !== "charset" || /^\s*("?)utf-?8\1\s*$/.test(value)
  })
}

/**
 * Fails unless the request says that its body is JSON. Browsers let every page send text and forms to any host; for this
 * type they ask the host first.
 */
export const expectJson = (headers: Headers): Effect.Effect<void, UnsupportedMediaType> => {
  const type = headers.get("Content-Type") ?? undefined
  return isJson(type ?? "") ? Effect.void : Effect.fail(new UnsupportedMediaType({ type: type?.slice(0, 200) }))
}
