import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { createExport, reaches, type ExportDocument } from "../support/client.ts"
import { shortLimits } from "../support/limits.ts"
import { startService, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"
import { makeUsersLarge } from "../support/source.ts"

setDefaultTimeout(60_000)

let service: Service
beforeAll(async () => {
  service = await startService({}, { limits: shortLimits })
  await makeUsersLarge(service.database, 1_500_000)
})
afterAll(() => service.stop())

const open = (id: string, init: RequestInit = {}) => fetch(`${service.url}/exports/${id}/events`, init)

interface Received {
  readonly text: string
  readonly at: number
}

/** Reads the blocks of an event stream with their times, until it ends or `enough` is true. */
const receive = async (response: Response, enough: (blocks: ReadonlyArray<Received>) => boolean = () => false) => {
  const blocks: Array<Received> = []
  let rest = ""
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n\n")
    rest = parts.pop() ?? ""
    blocks.push(...parts.map((part) => ({ text: part, at: performance.now() })))
    if (enough(blocks)) break
  }
  return blocks
}
const documentOf = ({ text }: Received): ExportDocument => JSON.parse(/^data: (.*)$/m.exec(text)![1]!)

test("events have the status at once, its progress at most five times a second, and the end once", async () => {
  const id = await createExport(service)
  const response = await open(id)
  expect(response.headers.get("Content-Type")).toBe("text/event-stream")
  const begun = performance.now()
  const blocks = await receive(response)
  const events = blocks.filter(({ text }) => text.includes("event: status"))
  expect(events[0]!.at - begun).toBeLessThan(2_000)
  const documents = events.map(documentOf)
  const percentages = documents.map(({ progress }) => progress.percentage)
  expect(percentages).toEqual(percentages.toSorted((a, b) => a - b))
  expect(new Set(percentages).size).toBeGreaterThan(3)
  expect(documents.filter(({ status }) => status === "completed")).toEqual([documents.at(-1)!])
  expect(documents.at(-1)!.progress.percentage).toBe(100)
  for (const [index, { at }] of events.entries()) {
    // The time of arrival may vary with what lies between the service and the client.
    if (index >= 5) expect(at - events[index - 5]!.at).toBeGreaterThan(900)
  }
})

test("a finished export has one event, and a browser that reconnects after it gets 204, which stops it", async () => {
  const id = await createExport(service, "?total=1")
  await reaches(service, id, "completed")
  const blocks = await receive(await open(id))
  expect(blocks.length).toBe(1)
  expect(blocks[0]!.text).toStartWith("id: final\nevent: status\ndata: {")
  expect((await open(id, { headers: { "Last-Event-ID": "final" } })).status).toBe(204)
})

test("an event stream without events gets comments, and ends when the service stops", async () => {
  const sql = await connect(service.database, 1)
  await sql.unsafe("begin; lock table public.users in access exclusive mode")
  const id = await createExport(service)
  await reaches(service, id, "processing")
  const response = await open(id)
  let stopped = 0
  const blocks = await receive(response, (seen) => {
    if (seen.filter(({ text }) => text.startsWith(":")).length === 1 && stopped === 0) {
      stopped = performance.now()
      service.signal("SIGTERM")
    }
    return false
  })
  const comment = blocks.findIndex(({ text }) => text.startsWith(":"))
  expect(blocks[comment]!.at - blocks[comment - 1]!.at).toBeWithin(
    0.9 * shortLimits.eventKeepAliveMs,
    5 * shortLimits.eventKeepAliveMs
  )
  expect(performance.now() - stopped).toBeLessThan(2_000)
  await sql.unsafe("rollback")
})
