/** The kinds of settings: what an environment variable may say, and what is made of it. `config.ts` has the settings. */
import { Duration, Redacted } from "effect"
import { parseAllowList, type AllowedRelation } from "./datasets/allow-list.ts"

export interface Kind<A> {
  /** What is allowed, for the operator who wrote something else. */
  readonly allowed: string
  /** Undefined when the value is not allowed. */
  readonly parse: (value: string) => A | undefined
  /** For a value that may hold a secret and is never shown: what is wrong with it. */
  readonly wrongSecret?: (value: string) => string
}

export const text: Kind<string> = { allowed: "any text", parse: (value) => value }

export const path: Kind<string> = { allowed: "a path", parse: (value) => (value.includes("\0") ? undefined : value) }

export const integer = (min: number, max: number): Kind<number> => ({
  allowed: `a whole number from ${min} to ${max}`,
  parse: (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
    return number >= min && number <= max ? number : undefined
  }
})

/** A time with its unit; a bare number is seconds. */
export const duration = (max: "12 hours" | "1 day" | "7 days" | "365 days"): Kind<Duration.Duration> => ({
  allowed: `a time such as "90 seconds", from 1 second to ${max}`,
  parse: (value) => {
    const parsed = Duration.decodeUnknown(/^\d+$/.test(value) ? `${value} seconds` : value)
    return parsed._tag === "Some" && Duration.between(parsed.value, { minimum: "1 second", maximum: max })
      ? parsed.value
      : undefined
  }
})

export const oneOf = <A extends string>(...choices: ReadonlyArray<A>): Kind<A> => ({
  allowed: `one of ${choices.join(", ")}`,
  parse: (value) => choices.find((choice) => choice === value.toLowerCase())
})

/** Items with commas between, each of which `parse` reads. */
const list = (allowed: string, parse: (item: string) => string | undefined): Kind<ReadonlyArray<string>> => ({
  allowed,
  parse: (value) => {
    const items = value.split(",").map((item) => parse(item.trim()))
    return items.every((item) => item !== undefined) ? items : undefined
  }
})

export const hostName: Kind<string> = {
  allowed: "a host name or an address",
  parse: (value) => (/^[\w.:-]+$/.test(value) ? value : undefined)
}

/** A host name or an address, in brackets or not, without the port that may follow it. */
const hostOf = (item: string): string | undefined => {
  if (/^[\da-f.]*(?::[\da-f.]*){2,}$/i.test(item)) return item
  return /^(\*|[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.exec(item)?.[1]
}

export const hosts = list("host names and addresses with commas between, such as sluice.example.com, or *", hostOf)

/** An origin as browsers send it: scheme, host, and a port that is not the scheme's default. */
const originOf = (item: string): string | undefined =>
  /^https?:/i.test(item) && URL.canParse(item) && new URL(item).href === `${new URL(item).origin}/` && !item.endsWith("/")
    ? new URL(item).origin
    : undefined

export const origins = list("origins with commas between, such as https://app.example.com", originOf)

/** A bare % in a password makes every client throw, long after the start. */
const isDecodable = ({ username, password, pathname }: URL) => {
  try {
    decodeURIComponent(username + password + pathname)
    return true
  } catch {
    return false
  }
}

/** What is wrong with a database's URL, if something is. */
const wrongUrl = (value: string): string | undefined => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) return "it is not a PostgreSQL URL"
  if (url.pathname.length <= 1) return "it names no database"
  return isDecodable(url) ? undefined : "it has a % that begins no escape; write %25 for a literal %"
}

/** The URL of a database, which holds a password. */
export const databaseUrl: Kind<Redacted.Redacted> = {
  allowed: "a URL such as postgres://user:password@host:5432/database",
  parse: (value) => (wrongUrl(value) === undefined ? Redacted.make(value) : undefined),
  wrongSecret: (value) => wrongUrl(value) ?? ""
}

export const relations: Kind<ReadonlyArray<AllowedRelation>> = {
  allowed: 'relations, each with its schema, such as public.orders,reporting.*,sales."Odd Name"',
  parse: parseAllowList
}
