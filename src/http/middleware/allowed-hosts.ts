import type { MiddlewareHandler } from "hono"
import { pathOf } from "../bridge.ts"
import { MisdirectedRequest } from "../failures.ts"
import { problemResponse } from "../problem.ts"

/** Names and addresses that always lead to the machine that asks (RFC 6761 §6.3, RFC 6890 §2.2.2). */
const isLoopback = (host: string) => /^(?:.+\.)?localhost$/.test(host) || /^127\.\d+\.\d+\.\d+$/.test(host) || host === "[::1]"

/** Writes a host as URLs do: in lower case, an address in its shortest form, without a dot at the end. */
const canonical = (host: string): string => {
  const url = `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}`
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, "") : host
}

/**
 * Paths that any host may be used for: probes use the address of a pod or container, and the answers contain nothing of
 * an export.
 */
const OPEN_PATHS = new Set(["/health", "/ready"])

/**
 * Refuses requests for a host that is not allowed with 421. Without this check a web page could have its own name resolve
 * to our address (DNS rebinding); its browser then takes us for the page's own server and lets it read every export.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20
 */
export const allowedHosts = (hosts: ReadonlyArray<string>): MiddlewareHandler => {
  const names = new Set(hosts.map(canonical))
  return async function hostCheck(c, next) {
    const host = canonical(new URL(c.req.url).hostname)
    if (names.has("*") || isLoopback(host) || names.has(host) || OPEN_PATHS.has(c.req.path)) return next()
    return problemResponse(new MisdirectedRequest({ host: host.slice(0, 200) }), pathOf(c).slice(0, 200))
  }
}
