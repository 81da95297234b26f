/** The page at /docs shows the description, and sends what is asked for there. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { parseHTML } from "linkedom"
import { byName } from "../../src/datasets/column.ts"
import { html } from "../../src/http/docs/files.ts"
import { openApiDocument } from "../../src/http/openapi/document.ts"
import { problemTypes, problemUrn } from "../../src/http/problem.ts"
import { columnOf, usersDataset } from "../support/datasets.ts"
import { until } from "../support/until.ts"

const HOSTILE = "<img src=x onerror=alert(1)>"
const hostile = {
  ...usersDataset,
  name: HOSTILE,
  parameters: {},
  columns: byName([HOSTILE, "filters"].map((name) => columnOf(name, ["text", "text", "S"])))
}
const description = openApiDocument([usersDataset, hostile])

const { document, window } = parseHTML(html)
const guideBefore = document.getElementById("guide")!.textContent
const sent: Array<{ readonly url: string; readonly method: string | undefined }> = []
/** Answers as the service would, and remembers what was sent. */
const answer = async (input: string, { method }: RequestInit = {}) => {
  if (input === "openapi.json") return Response.json(description)
  sent.push({ url: input, method })
  return Response.json({ exports: [], nextCursor: null }, { status: 200, headers: { "Cache-Control": "no-store" } })
}

const { fetch: realFetch } = globalThis
beforeAll(async () => {
  Object.assign(globalThis, { document, fetch: answer })
  Object.defineProperty(document, "baseURI", { value: "http://example.com/sluice/docs" })
  await import("../../src/http/docs/page.js")
})
afterAll(() => {
  Object.assign(globalThis, { fetch: realFetch, document: undefined })
})

const opened = (id: string) => {
  const details = document.getElementById(id)!
  details.dispatchEvent(new window.Event("toggle"))
  return details
}

test("the guide can be read before any script runs, under headings of its own", () => {
  for (const part of ["Columns and order", "deleted_at=is.null"]) expect(guideBefore).toContain(part)
  expect(document.querySelector("#guide h1")).toBeNull()
  for (const heading of document.querySelectorAll("#guide :is(h2, h3, h4)")) expect(heading.id).toStartWith("guide-")
})

test("lists each operation, each problem type and the guide", () => {
  for (const item of Object.values(description.paths))
    for (const operation of Object.values(item))
      if ("operationId" in operation) expect(document.getElementById(operation.operationId)).not.toBeNull()
  const text = document.querySelector("main")!.textContent
  for (const type of problemTypes) expect(text).toContain(problemUrn(type))
  expect([...document.querySelectorAll("h3")].map((heading) => heading.textContent)).toContain("Formats")
  expect(document.querySelectorAll("#guide table").length).toBeGreaterThan(2)
})

test("shows the parameters, the filters, the body and the answers of an operation that is opened", () => {
  const { textContent } = opened("createExport.users")
  for (const part of ["country_code", "order_by", "signup_date", "where", "202", "Location", "urn:sluice:problem:queue-full"])
    expect(textContent).toContain(part)
})

test("shows names that look like HTML as text", () => {
  const name = HOSTILE.replaceAll(/[^\w.-]/g, "_")
  expect(opened(`streamExport.${name}`).textContent).toContain(HOSTILE)
  expect(document.querySelector("img")).toBeNull()
  for (const link of document.querySelectorAll("a")) expect(link.getAttribute("href")).toMatch(/^(#|https?:\/\/)/)
})

/** Fills the form of an operation, and returns the URL that it sends. */
const urlOf = async (id: string, values: Readonly<Record<string, string>>) => {
  const form = opened(id).querySelector("form")!
  for (const [name, value] of Object.entries(values)) Object.assign(form.querySelector(`input[name="${name}"]`), { value })
  const before = sent.length
  form.dispatchEvent(new window.Event("submit", { cancelable: true }))
  await until("the request", () => sent.length > before || undefined)
  return sent.at(-1)!.url
}

test("takes the filters of any dataset as they stand in a query, and those of a column named filters as values", async () => {
  expect(await urlOf("streamExport", { filters: "id=gt.5&name=like.A*" })).toBe("/sluice/exports/csv?id=gt.5&name=like.A*")
  const name = HOSTILE.replaceAll(/[^\w.-]/g, "_")
  expect(await urlOf(`createExport.${name}`, { filters: "eq.a&b" })).toContain("&filters=eq.a%26b")
})

test("offers no header that browsers do not let a page set", () => {
  expect(opened("downloadExport").querySelector('input[name="Range"]')).not.toBeNull()
  expect(document.querySelector('input[name="Accept-Encoding"]')).toBeNull()
})

test("links in texts lead to this service, this page or the web, and not to another host without saying so", async () => {
  const { inline } = (await import("../../src/http/docs/elements.js")) as unknown as {
    inline: (text: string) => ReadonlyArray<unknown>
  }
  const targetOf = (target: string) =>
    (inline(`[a](${target})`)[0] as { getAttribute?: (name: string) => string | null }).getAttribute?.("href")
  for (const target of ["https://example.com", "#guide", "/datasets"]) expect(targetOf(target)).toBe(target)
  for (const target of ["//evil.example", "/\\evil.example", "javascript:alert(1)", "data:text/html,x"])
    expect(targetOf(target)).toBeUndefined()
})

test("sends the request of an operation below the path of the page, and shows its answer", async () => {
  const form = opened("listExports").querySelector("form")!
  Object.assign(form.querySelector("input[name=limit]"), { value: "5 &" })
  form.dispatchEvent(new window.Event("submit", { cancelable: true }))
  const shown = () => [...form.querySelectorAll("pre")].map((output) => output.textContent ?? "").join("\n")
  await until("the answer", () => shown().includes("nextCursor") || undefined)
  expect(sent.at(-1)).toEqual({ url: "/sluice/exports?limit=5%20%26", method: "get" })
  expect(shown()).toContain("200")
  expect(shown()).toContain("cache-control: no-store")
})
