/** Databases whose text is not UTF-8: the errors for bytes that are no characters, and `encoding=raw`. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { createExport, download, reaches } from "../support/client.ts"
import { expectProblem, send } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"

setDefaultTimeout(60_000)

/** Creates a database with that encoding, filled by a session with the same client encoding. */
const databaseOf = async (encoding: string, setup: string): Promise<string> => {
  const url = new URL(await freshDatabase())
  const name = `encoded_${encoding.toLowerCase()}`
  const admin = await connect(url.href, 1)
  await admin.unsafe(`create database ${name} encoding '${encoding}' template template0 locale_provider libc locale 'C'`)
  url.pathname = `/${name}`
  const sql = await connect(url.href, 1)
  await sql.unsafe(setup)
  return url.href
}

/** Returns what COPY writes in the encoding of the database. */
const copyBytes = async (sql: postgres.Sql, query: string, options = ""): Promise<Buffer> => {
  const chunks: Array<Uint8Array> = []
  const [row] = await sql`select current_setting('server_encoding') as encoding`
  const copy = sql.unsafe(`copy (${query}) to stdout (format csv, header true, encoding '${row!["encoding"]}'${options})`)
  for await (const chunk of await copy.readable()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const ROWS = 20_000
/** In a database with an encoding of single bytes, chr() returns a byte: é in LATIN1. */
const places = `
  create table public.places as
    select i as id, 'place ' || i as name, case when i % 1000 = 0 then 'Caf' || chr(233) || ', ' || i else 'plain' end as "naïve"
    from generate_series(1, ${ROWS}) i;
  alter table public.places add primary key (id);
  create table public.ascii as select 1 as id, 'Café'::text as name;
  create table public.tags as select 1 as id, array['a', chr(233)] as words, 'ok'::text as name`

const encodings = ["SQL_ASCII", "LATIN1"] as const
const databases = new Map<string, string>()
const services = new Map<string, Service>()
beforeAll(async () => {
  for (const encoding of encodings) {
    const database = await databaseOf(encoding, `${places}; analyze`)
    databases.set(encoding, database)
    services.set(encoding, await startService({ SOURCE_DATABASE_URL: database, EXPORT_DATASETS: "public.*" }))
  }
})
afterAll(async () => {
  for (const service of services.values()) expect(await service.stop()).toBe(0)
})
const stream = (service: Service, query: string) => send(service.url, { target: `/exports/csv?${encodeURI(query)}` })
const bytesOf = async (service: Service, query: string) => {
  const response = await fetch(`${service.url}/exports/csv?${query}`)
  expect(response.status).toBe(200)
  return { headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) }
}

describe.each(encodings)("encoding=raw on a database in %s", (encoding) => {
  const queries = [
    ["dataset=places", "select * from places", ""],
    [
      "dataset=places&profile=postgres&columns=naïve,id&delimiter=;&quoteChar='",
      'select "naïve", id from places',
      ", delimiter ';', quote '''', escape ''''"
    ],
    ["dataset=places&naïve=like.Caf*&order_by=-id", `select * from places where "naïve" like 'Caf%' order by id desc`, ""]
  ] as const
  test.each(queries)("as a stream and as a job, %s is what COPY writes, byte for byte", async (query, sql, options) => {
    const service = services.get(encoding)!
    const expected = await copyBytes(await connect(databases.get(encoding)!, 1), sql, options)
    const { headers, bytes } = await bytesOf(service, `${query}&encoding=raw`)
    expect(bytes.equals(expected)).toBe(true)
    expect(bytes.includes(0xe9)).toBe(true)
    expect(headers.get("Content-Type")).toBe("text/csv; header=present")
    const id = await createExport(service, `?${query}&encoding=raw`)
    await reaches(service, id, "completed")
    expect((await download(service, id)).equals(expected)).toBe(true)
  })
})

test("a database in LATIN1 is exported in UTF-8 without encoding=raw", async () => {
  const { headers, bytes } = await bytesOf(services.get("LATIN1")!, "dataset=places&columns=naïve&id=eq.1000")
  expect(bytes.toString()).toBe('naïve\n"Café, 1000"\n')
  expect(headers.get("Content-Type")).toBe("text/csv; charset=utf-8; header=present")
})

const unreadable = (column: string) =>
  `The column "${column}" holds bytes that are not UTF-8, and the encoding of the database, SQL_ASCII, does not say what they are`
const withAdvice = (column: string) => `${unreadable(column)}. With profile=postgres&encoding=raw the export has them as they are`

describe("bytes that are not UTF-8, without encoding=raw", () => {
  test.each([
    ["dataset=places&naïve=like.Caf*", "naïve"],
    ["dataset=tags&profile=rfc4180", "words"],
    ["dataset=places&columns=naïve,id&profile=excel-utf16&order_by=-id", "naïve"]
  ])("%s is a 422 that names the column and the encoding", async (query, column) => {
    const { detail } = expectProblem(await stream(services.get("SQL_ASCII")!, query), 422)
    expect(detail).toBe(withAdvice(column))
  })

  test("fail a job at once, with the sentence that a stream answers", async () => {
    const service = services.get("SQL_ASCII")!
    const id = await createExport(service, "?dataset=places")
    const { error } = await reaches(service, id, "failed", 10_000)
    expect(error).toBe(withAdvice("naïve"))
  })

  test.each([
    [
      "are not answered with the advice to ask for raw bytes where rows are read by a cursor",
      { EXPORT_SOURCE: "cursor" },
      unreadable("naïve")
    ],
    [
      "are reported in the server's words where no further source connection is free",
      { MAX_SOURCE_CONNECTIONS: "1" },
      'Cannot read from the source database: 22021: invalid byte sequence for encoding "UTF8": 0xe9'
    ]
  ])("%s", async (_, settings, expected) => {
    const source = { SOURCE_DATABASE_URL: databases.get("SQL_ASCII")!, EXPORT_DATASETS: "public.places" }
    const service = await startService({ ...source, ...settings })
    const { detail } = expectProblem(await stream(service, "dataset=places&naïve=like.Caf*"), 422)
    expect(detail).toStartWith(expected)
    expect(detail).not.toContain("encoding=raw")
    await service.stop()
  })

  test("do not affect exports of other columns and tables", async () => {
    const service = services.get("SQL_ASCII")!
    expect((await bytesOf(service, "dataset=ascii")).bytes.toString()).toBe("id,name\n1,Café\n")
    expect((await bytesOf(service, "dataset=places&columns=naïve&id=eq.1")).bytes.toString()).toBe("naïve\nplain\n")
  })
})

describe("a request for an encoding", () => {
  test.each([
    ["encoding=latin1", "encoding", "must be one of utf-8, raw, not"],
    ["encoding=raw&profile=rfc4180", "encoding", "is for profile=postgres alone, where it is utf-8 or raw"],
    ["encoding=utf-8&profile=excel-utf16", "encoding", "is for profile=postgres alone, where it is utf-8 or raw"],
    ["encoding=raw&bom=true", "bom", "must be false with encoding=raw"],
    ["encoding=raw&null=é", "null", "must be ASCII with encoding=raw"]
  ])("%s is refused", async (query, field, detail) => {
    const { errors } = expectProblem(await stream(services.get("LATIN1")!, `dataset=places&${query}`), 400)
    expect(errors).toEqual([{ field, detail: expect.stringContaining(detail) }])
  })

  test("is refused for raw bytes where rows are read by a cursor", async () => {
    const service = await startService({ EXPORT_SOURCE: "cursor" })
    for (const method of ["GET", "POST"]) {
      const answer = await send(service.url, { method, target: "/exports/csv?encoding=raw" })
      expect(expectProblem(answer, 400).errors.map(({ field }) => field)).toEqual(["encoding"])
    }
    expect((await stream(service, "encoding=utf-8&total=1")).status).toBe(200)
    await service.stop()
  })

  test("is refused if the header cannot be written in that encoding", async () => {
    const answer = await stream(services.get("LATIN1")!, `dataset=places&encoding=raw&columns=id:№`)
    expectProblem(answer, 400)
  })
})
