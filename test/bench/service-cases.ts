/**
 * The service over HTTP, in a fresh process a measurement, so that peak memory is of this one thing. It answers a small
 * request of the same kind before: the first of a process loads and compiles what all use.
 */
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schedule } from "effect"
import type { ExportDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { toBenchError, type Bench, type BenchError, type Case, type FinishedExport } from "./case.ts"
import { download, head, warmFile, type Coding } from "./download.ts"
import { watching } from "./process.ts"

/** More than the service takes for a stop of its own. */
const STOP_LIMIT = "12 seconds"
const LOG_LIMIT = "5 seconds"
/** A small request. */
const ONE_ROW = "?total=1"

type Place = Pick<Bench, "url" | "storage">

const runService = ({ url, storage }: Place, settings: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => startService({ DATABASE_URL: url, EXPORT_STORAGE_PATH: storage, SEED_ROWS: "0", ...settings }),
      catch: toBenchError("start the service")
    }),
    (service) =>
      Effect.interruptible(Effect.promise(() => service.stop())).pipe(
        Effect.timeout(STOP_LIMIT),
        Effect.catchAll(() => Effect.sync(() => service.signal("SIGKILL")))
      )
  )

const answered = async (response: Response): Promise<Response> => {
  if (!response.ok) throw new Error(`the service answered ${response.status}: ${await response.text()}`)
  return response
}

/** Makes an export and waits for it. Its last event comes up to 200 ms late, but its row tells when it was completed. */
const createExport = ({ url }: Service, query = "") =>
  Effect.tryPromise({
    try: async (signal) => {
      const begun = Date.now()
      const created = await answered(await fetch(`${url}/exports/csv${query}`, { method: "POST", signal }))
      const { exportId } = (await created.json()) as { exportId: string }
      // The stream of its events ends when it is finished.
      await (await answered(await fetch(`${url}/exports/${exportId}/events`, { signal }))).text()
      const status = await answered(await fetch(`${url}/exports/${exportId}/status`, { signal }))
      const document = (await status.json()) as ExportDocument
      if (document.status !== "completed") throw new Error(`it is ${document.status}: ${document.error}`)
      return {
        id: exportId,
        seconds: (Date.parse(document.completedAt!) - begun) / 1000,
        rows: document.progress.processedRows,
        bytes: document.bytes!
      }
    },
    catch: toBenchError("make an export")
  })

const deleteExport = ({ url }: Service, id: string) =>
  Effect.tryPromise({
    try: async () => answered(await fetch(`${url}/exports/${id}`, { method: "DELETE" })),
    catch: toBenchError("delete an export")
  })

const post: Case = {
  name: "post",
  run: (bench) =>
    Effect.gen(function* () {
      const service = yield* runService(bench)
      yield* deleteExport(service, (yield* createExport(service, ONE_ROW)).id)
      const { id, ...measurement } = yield* watching(service.pid, createExport(service))
      yield* deleteExport(service, id)
      return measurement
    })
}

/** An export that outlives the service that made it: for those that offer it later. */
export const makeFinishedExport = (place: Place): Effect.Effect<FinishedExport, BenchError> =>
  Effect.gen(function* () {
    const { id } = yield* createExport(yield* runService(place))
    const names = yield* Effect.promise(() => readdir(place.storage, { recursive: true }))
    return { id, fileName: names.find((name) => name.endsWith(`${id}.1.csv`))! }
  }).pipe(Effect.scoped)

/** The rows of an answer: those of the table if it has the table's bytes, else unknown. */
export const rowsOf = ({ rows, bytes }: Bench, received: number) => (received === bytes ? rows : 0)

/** The rows of a coded answer, by what the service logs at its end: the bytes that went into it. */
const codedRows = ({ log }: Service, { rows, bytes }: Bench) =>
  Effect.suspend(() => {
    const line = log().findLast(({ message }) => String(message).startsWith("body ended"))
    return line?.message === "body ended: whole" && line.annotations["bytes"] === bytes ? Effect.succeed(rows) : Effect.fail(0)
  }).pipe(Effect.retry(Schedule.spaced("20 millis").pipe(Schedule.upTo(LOG_LIMIT))), Effect.merge)

/** Reads an answer of the service and tells its rows. */
const read = (service: Service, bench: Bench, address: string, coding: Coding) =>
  Effect.gen(function* () {
    const measurement = yield* watching(service.pid, download(address, coding))
    const rows = coding === "identity" ? rowsOf(bench, measurement.bytes) : yield* codedRows(service, bench)
    return { ...measurement, rows }
  })

const stream = (name: string, coding: Coding, settings: Readonly<Record<string, string>> = {}): Case => ({
  name,
  otherBytes: coding !== "identity",
  run: (bench) =>
    Effect.gen(function* () {
      const service = yield* runService(bench, settings)
      const address = `${service.url}/api/v1/exports/csv`
      yield* download(`${address}${ONE_ROW}`, coding)
      return yield* read(service, bench, address, coding)
    })
})

const fileDownload = (name: string, coding: Coding): Case => ({
  name,
  otherBytes: coding !== "identity",
  run: (bench) =>
    Effect.gen(function* () {
      const { id, fileName } = yield* bench.finishedExport
      yield* warmFile(join(bench.storage, fileName))
      const service = yield* runService(bench)
      const address = `${service.url}/exports/${id}/download`
      yield* head(address)
      const { firstByteMs: _, ...measurement } = yield* read(service, bench, address, coding)
      return measurement
    })
})

export const serviceCases: ReadonlyArray<Case> = [
  post,
  stream("stream-1", "identity", { EXPORT_PARALLELISM: "1" }),
  stream("stream", "identity"),
  stream("stream-gzip", "gzip"),
  stream("stream-zstd", "zstd"),
  fileDownload("download", "identity"),
  fileDownload("download-gzip", "gzip")
]
