/** The page at /docs shows the description, and sends what is asked for there. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { parseHTML } from "linkedom"
import { byName } from "../../src/datasets/column.ts"
import { openApiDocument } from "../../src/http/openapi/document.ts"
import { problemTypes, problemUrn } from "../../src/http/problem.ts"
import { columnOf, usersDataset } from "../support/datasets.ts"
import { until } from "../support/until.ts"

const HOSTILE = "<img src=x onerror=alert(1)>"
const hostile = { ...usersDataset, name: HOSTILE, parameters: {}, columns: byName([columnOf(HOSTILE, ["text", "text", "S"])]) }
const description = openApiDocument([usersDataset, hostile])
const guide = await Bun.file(join(import.meta.dir, "../../src/http/docs/guide.md")).text()

const { document, window } = parseHTML("<html><nav><ul></ul></nav><main></main></html>")
const sent: Array<{ readonly url: string; readonly method: string | undefined }> = []
/** Answers as the service would, and remembers what was sent. */
const answer = async (input: string, { method }: RequestInit = {}) => {
  if (input === "openapi.json") return Response.json(description)
  if (input === "docs/guide.md") return new Response(guide)
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

test("sends the request of an operation below the path of the page, and shows its answer", async () => {
  const form = opened("listExports").querySelector("form")!
  Object.assign(form.querySelector("input[name=limit]"), { value: "5 &" })
  form.dispatchEvent(new window.Event("submit", { cancelable: true }))
  const shown = () => [...form.querySelectorAll("pre")].map((output) => output.textContent ?? "").join("\n")
  await until("the answer", () => shown().includes("nextCursor") || undefined)
  expect(sent).toEqual([{ url: "/sluice/exports?limit=5%20%26", method: "get" }])
  expect(shown()).toContain("200")
  expect(shown()).toContain("cache-control: no-store")
})
