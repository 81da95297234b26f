/** Exports with specs of 60 KB, such as those with many values in their filters: status and list do not read the specs. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import net from "node:net"
import { createExport, download, reaches, statusOf } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

const EXPORTS = 200
let service: Service
/** A relay between the service and its own database, which counts the bytes that the database sends. */
let relay: net.Server
let received = 0
let id: string
beforeAll(async () => {
  const database = await freshDatabase()
  const { hostname, port } = new URL(database)
  relay = net.createServer((client) => {
    const server = net.connect(Number(port), hostname)
    server.on("data", (bytes: Buffer) => {
      received += bytes.length
      client.write(bytes)
    })
    server.on("error", () => {}).on("close", () => client.destroy())
    client.on("error", () => {}).on("close", () => server.destroy())
    client.on("data", (bytes: Buffer) => void server.write(bytes))
  })
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve))
  const through = Object.assign(new URL(database), { port: String((relay.address() as net.AddressInfo).port) }).href
  service = await startService({ DATABASE_URL: through, SOURCE_DATABASE_URL: database })
  id = await createExport(service, "?total=5")
  await reaches(service, id, "completed")
  const sql = await connect(database, 1)
  await sql`
    insert into sluice.exports (id, dataset, spec, status, completed_at)
    select gen_random_uuid(), dataset, spec || jsonb_build_object('filler', (select string_agg(md5(n::text), '') from generate_series(1, 1900) n)),
      'failed', now()
    from sluice.exports, generate_series(1, ${EXPORTS}) where id = ${id}`
  await sql`update sluice.exports set spec = (select spec || jsonb_build_object('filler', e.spec -> 'filler') from sluice.exports e where e.id <> ${id} limit 1) where id = ${id}`
})
afterAll(async () => {
  await service.stop()
  relay.close()
})

/** Returns the bytes that the database sends during `work`. The service also sends it other queries now and then. */
const receivedBy = async (work: () => Promise<unknown>) => {
  const before = received
  await work()
  return received - before
}

test("a list of 200 exports does not read their large specs from the database", async () => {
  const answer: { exports?: ReadonlyArray<unknown> } = {}
  const bytes = await receivedBy(async () =>
    Object.assign(answer, await (await fetch(`${service.url}/exports?limit=${EXPORTS}`)).json())
  )
  expect(answer.exports).toHaveLength(EXPORTS)
  expect(bytes).toBeLessThan(EXPORTS * 500)
})

test("the status, the events and the file of an export do not read its large spec from the database", async () => {
  const bytes = await receivedBy(async () => {
    expect((await statusOf(service, id)).status).toBe("completed")
    expect(await (await fetch(`${service.url}/exports/${id}/events`)).text()).toContain('"completed"')
    expect((await download(service, id)).toString().split("\n")).toHaveLength(7)
  })
  expect(bytes).toBeLessThan(20_000)
})
