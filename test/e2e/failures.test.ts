import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "node:net"
import type postgres from "postgres"
import { createExport, download, isComplete, reaches, statusOf, type ExportDocument } from "../support/client.ts"
import { exchange } from "../support/raw-http.ts"
import { startService, storedFiles, type Service } from "../support/service.ts"
import { connect } from "../support/shared-service.ts"
import { makeUsersLarge, sourceIsBusy, sourceIsLeft, sourceWaits, terminateSource } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(90_000)

const ROWS = 800_000
const STREAM = "/api/v1/exports/csv"

let service: Service
/** Returns the id of a completed export. */
let completed: ExportDocument
beforeAll(async () => {
  service = await startService({ RATE_LIMIT_MAX: "1000" }, { limits: { jobRetryDelayMaxSeconds: 1 } })
  await makeUsersLarge(service.database, ROWS)
  completed = await reaches(service, await createExport(service), "completed")
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

/** Returns all bytes that answer a GET, until the server closes. `onData` gets each piece. */
const rawGet = async (url: string, path: string, onData?: Parameters<typeof exchange>[2]) =>
  (await exchange(url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`, onData)).toString("latin1")

/** Kills the backend when the first bytes have arrived. */
const terminateOnce = () => {
  let done: Promise<void> | undefined
  return () => {
    done ??= terminateSource(service.database)
  }
}

const LAST_CHUNK = "\r\n0\r\n\r\n"

test("a complete stream ends with the last chunk of HTTP, so that its absence means that the stream is incomplete", async () => {
  expect((await rawGet(service.url, `${STREAM}?total=5`)).endsWith(LAST_CHUNK)).toBe(true)
})

test("a stream whose database backend is killed has no last chunk, and the service goes on", async () => {
  const answer = rawGet(service.url, STREAM, terminateOnce())
  const wire = await answer
  expect(wire).toStartWith("HTTP/1.1 200")
  expect(wire).not.toEndWith(LAST_CHUNK)
  expect((await fetch(`${service.url}/health`)).status).toBe(200)
})

test("with errorRow=true a failed stream ends with the error line, on a line of its own", async () => {
  const answer = rawGet(service.url, `${STREAM}?errorRow=true`, terminateOnce())
  const wire = await answer
  expect(wire).toEndWith(LAST_CHUNK)
  expect(wire).toMatch(/\n"__ERROR__","internal_server_error"\n\r\n0\r\n\r\n$/)
})

test("a compressed stream whose database backend is killed has no last chunk, either", async () => {
  const response = await fetch(service.url + STREAM, { headers: { "Accept-Encoding": "gzip" }, decompress: false })
  expect(response.headers.get("Content-Encoding")).toBe("gzip")
  await terminateSource(service.database)
  expect(await isComplete(response.arrayBuffer())).toBe(false)
})

test("a client that leaves a stream ends its query within a second", async () => {
  const wire = rawGet(service.url, STREAM, (socket) => socket.destroy())
  await wire
  await sourceIsLeft(service.database)
})

test("a client that stops reading pauses the query of its stream, and ends it by leaving", async () => {
  let paused: Socket | undefined
  void rawGet(service.url, STREAM, (socket) => {
    paused = socket.pause()
  })
  await sourceIsBusy(service.database)
  const sql = await connect(service.database, 1)
  // The backend waits for its client all the time, and not only now and then: what is read ahead is limited.
  let looks = 0
  await until("the query to wait for its client", async () => {
    const [row] =
      await sql`select wait_event from pg_stat_activity where application_name = 'sluice source' and datname = current_database()`
    looks = row?.["wait_event"] === "ClientWrite" ? looks + 1 : 0
    return looks === 30
  })
  paused!.destroy()
  await sourceIsLeft(service.database)
})

describe("a query that waits for a locked table ends within a second", () => {
  let holder: postgres.Sql
  let observer: postgres.Sql
  beforeEach(async () => {
    holder = await connect(service.database, 1)
    observer = await connect(service.database, 1)
    await holder.unsafe("begin; lock table public.users in access exclusive mode")
  })
  afterEach(async () => {
    await holder.unsafe("rollback")
  })

  test("when the client of a stream leaves", async () => {
    const left = new AbortController()
    const answer = fetch(service.url + STREAM, { signal: left.signal })
    await sourceWaits(service.database)
    left.abort()
    expect(await isComplete(answer)).toBe(false)
    await sourceIsLeft(service.database)
  })

  test("when a job is cancelled, even if the notification of that is lost", async () => {
    const id = await createExport(service)
    await sourceWaits(service.database)
    // This is what another instance does whose notification is lost.
    await observer`update sluice.exports set status = 'cancelled', completed_at = now() where id = ${id}`
    await sourceIsLeft(service.database)
  })
})

test("a job whose database backend is killed starts anew, which counts as no failure, and completes", async () => {
  const id = await createExport(service)
  await sourceIsBusy(service.database)
  await until("the export to make progress", async () => (await statusOf(service, id)).progress.percentage > 5)
  await terminateSource(service.database)
  const { progress } = await reaches(service, id, "completed")
  expect(progress.totalRows).toBe(ROWS)
  const lines = (await download(service, id)).toString("latin1").split("\n")
  expect(lines.length).toBe(ROWS + 2)
  expect(lines[ROWS]).toStartWith(`${ROWS},Ada Lovelace`)
  const said = service.log().filter(({ annotations }) => annotations["exportId"] === id && annotations["attempt"] === 1)
  const messages = said.map(({ message }) => String(message)).join()
  expect(messages).toContain("source database lost, starting the export anew")
  expect(messages).not.toContain("will be tried again")
  // The next try reached the source, so that was no outage.
  expect(service.log().filter(({ message }) => /source database (cannot be|is) reached/.test(String(message)))).toEqual([])
})

test("cancelling a running job answers 204, ends its query and removes its file within a second", async () => {
  const id = await createExport(service)
  await sourceIsBusy(service.database)
  await until("a file to appear", async () => (await storedFiles(service.storage)).some((name) => name.startsWith(id)))
  const response = await fetch(`${service.url}/exports/${id}`, { method: "DELETE" })
  expect(response.status).toBe(204)
  await sourceIsLeft(service.database)
  await until("the file to be gone", async () => !(await storedFiles(service.storage)).some((name) => name.startsWith(id)), 1_000)
  expect((await statusOf(service, id)).status).toBe("cancelled")
  expect((await fetch(`${service.url}/exports/${id}`, { method: "DELETE" })).status).toBe(204)
  expect((await fetch(`${service.url}/exports/${id}/download`)).status).toBe(410)
})

test("a job that cannot succeed fails with a sentence that says why", async () => {
  const sql = await connect(service.database, 1)
  await sql.unsafe("alter view public.users rename to users_away")
  const id = await createExport(service)
  const { error } = await reaches(service, id, "failed")
  expect(error).toBe('Cannot read from the source database: 42P01: relation "public.users" does not exist')
  const response = await fetch(`${service.url}/exports/${id}/download`)
  expect(response.status).toBe(409)
  expect(((await response.json()) as { detail: string }).detail).toContain("42P01")
  const streamed = await fetch(service.url + STREAM)
  expect(streamed.status).toBe(422)
  expect(streamed.headers.get("Content-Type")).toBe("application/problem+json")
  await sql.unsafe("alter view public.users_away rename to users")
})

test.concurrent("a download whose client pauses in the middle is complete", async () => {
  let received = 0
  let paused = false
  const answer = rawGet(service.url, `/exports/${completed.exportId}/download`, (socket, data) => {
    received += data.length
    if (paused) return
    paused = true
    socket.pause()
    // The buffers between take far less than this file.
    setTimeout(() => socket.resume(), 2_000)
  })
  const wire = await answer
  expect(received).toBe(completed.bytes! + wire.indexOf("\r\n\r\n") + 4)
})

test.concurrent("a job whose query keeps failing is tried three more times, and then fails", async () => {
  const id = await createExport(service)
  const sql = await connect(service.database, 1)
  const killer = (async () => {
    while ((await statusOf(service, id)).status !== "failed")
      await sql`select pg_cancel_backend(pid) from pg_stat_activity
        where application_name = 'sluice source' and datname = current_database() and state = 'active'`
  })()
  const { error } = await reaches(service, id, "failed", 40_000)
  await killer
  expect(error).toStartWith("The source database cancelled the query")
  expect(error).toContain("tried 4 times")
})
