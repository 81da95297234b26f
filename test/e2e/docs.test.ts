/** The description for people and for programs, as it comes over the wire. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { connect } from "../support/shared-service.ts"
import { startService, type Service } from "../support/service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

let service: Service
beforeAll(async () => {
  service = await startService({ EXPORT_DATASETS: "public.*" })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const pathsOf = async (response: Response) => Object.keys(((await response.json()) as { paths: object }).paths)

test("/openapi.json has a strong ETag, with which it is sent again only after it has changed", async () => {
  const url = `${service.url}/openapi.json`
  const first = await fetch(url)
  const etag = first.headers.get("ETag")!
  expect(etag).toMatch(/^"[^"]+"$/)
  expect(first.headers.get("Content-Type")).toBe("application/json")
  expect(await pathsOf(first)).not.toContain("/exports/csv#dataset=later")

  const again = (headers: Record<string, string>) => fetch(url, { headers })
  for (const known of [etag, `"other", ${etag}`, `W/${etag}`, "*"]) {
    const answer = await again({ "If-None-Match": known })
    expect({ known, status: answer.status, body: await answer.text(), etag: answer.headers.get("ETag") }).toEqual({
      known,
      status: 304,
      body: "",
      etag
    })
  }
  expect((await again({ "If-None-Match": '"other"' })).status).toBe(200)
  expect((await again({ "If-Match": '"other"' })).status).toBe(412)
  // It has no time of its own.
  expect((await again({ "If-Modified-Since": new Date(Date.now() + 60_000).toUTCString() })).status).toBe(200)

  const sql = await connect(service.database, 1)
  await sql`create table later (id int primary key)`
  service.signal("SIGHUP")
  const changed = await until("a new dataset", async () => {
    const answer = await again({ "If-None-Match": etag })
    return answer.status === 200 ? answer : undefined
  })
  expect(changed.headers.get("ETag")).not.toBe(etag)
  expect(await pathsOf(changed)).toContain("/exports/csv#dataset=later")
})

test("/docs loads nothing but files of this service, and its policy allows nothing else", async () => {
  const page = await fetch(`${service.url}/docs`)
  const html = await page.text()
  const policy = page.headers.get("Content-Security-Policy")!.split("; ")
  expect(policy).toContain("default-src 'none'")
  expect(policy.filter((directive) => !/ '(none|self)'$/.test(directive))).toEqual([])
  expect(html).not.toMatch(/<style|<script>|<[^>]* (on\w+|style)=|<img|src="(https?:)?\/\//)
  expect(html).toContain('<h3 id="guide-filters">Filters</h3>')

  const queue = [...html.matchAll(/(?:src|href)="([^"#:]+)"/g)].map(([, path]) => new URL(path!, page.url).href)
  const loaded = new Set<string>()
  for (const url of queue) {
    if (loaded.has(url)) continue
    loaded.add(url)
    const file = await fetch(url)
    expect({ url, status: file.status, isOurs: url.startsWith(service.url) }).toEqual({ url, status: 200, isOurs: true })
    expect(file.headers.get("X-Content-Type-Options")).toBe("nosniff")
    const text = await file.text()
    if (!url.endsWith(".js")) continue
    expect(text).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write|\beval\(/)
    queue.push(...[...text.matchAll(/from "(\.[^"]+)"/g)].map(([, path]) => new URL(path!, url).href))
  }
  expect([...loaded].map((url) => url.slice(service.url.length)).toSorted()).toEqual([
    "/docs/elements.js",
    "/docs/page.css",
    "/docs/page.js",
    "/docs/try-it.js",
    "/openapi.json"
  ])
})

test("/docs/ leads to /docs", async () => {
  const answer = await fetch(`${service.url}/docs/`, { redirect: "manual" })
  expect({ status: answer.status, location: answer.headers.get("Location") }).toEqual({ status: 308, location: "../docs" })
  const followed = await fetch(`${service.url}/docs/`)
  expect({ url: followed.url, status: followed.status }).toEqual({ url: `${service.url}/docs`, status: 200 })
  await followed.body?.cancel()
})
