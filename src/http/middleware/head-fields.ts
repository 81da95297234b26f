import type { MiddlewareHandler } from "hono"

/**
 * RFC 9110 §6.6.1 wants a Date in every answer, and §8.6 in one to HEAD no Content-Length but that of the body to GET.
 * Bun leaves out the one, and sends 0 as the other. A body that is there is a document; streams have none for HEAD.
 */
export const headFields: MiddlewareHandler = async function headFields(c, next) {
  await next()
  if (c.req.method !== "HEAD") return
  c.res.headers.set("Date", new Date().toUTCString())
  if (c.res.body !== null) c.res.headers.set("Content-Length", String((await c.res.clone().arrayBuffer()).byteLength))
}
