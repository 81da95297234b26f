/**
 * Filters that make the plan long, since the plan repeats them for each table that it reads. `PLAN_TABLES` is the number of
 * partitions of a table.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync } from "node:fs"
import { copyCsv, download, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { sourceIsLeft } from "../support/source.ts"

setDefaultTimeout(120_000)

const TABLES = Number(process.env["PLAN_TABLES"] ?? 200)
const ROWS = 20_000
/** A filter of 60 KB, nearly as much as a body may have. */
const VALUES = 900
const wordOf = (n: number) => `${n}-${"x".repeat(60)}`
const filter = `in.(${Array.from({ length: VALUES }, (_, n) => wordOf(n * 10)).join(",")})`
/** A filter for which a URL has room. */
const shortFilter = `in.(${Array.from({ length: 230 }, (_, n) => wordOf(n * 10)).join(",")})`

let service: Service
beforeAll(async () => {
  const database = await freshDatabase()
  const sql = await connect(database, 1)
  await sql.unsafe(`
    create table public.pieces (n integer not null, word text not null) partition by hash (n);
    do $$ begin for piece in 0..${TABLES - 1} loop
      execute format('create table public.piece_%s partition of public.pieces for values with (modulus ${TABLES}, remainder %s)', piece, piece);
    end loop; end $$;
    insert into public.pieces select n, n || '-${"x".repeat(60)}' from generate_series(0, ${ROWS - 1}) n;
    do $$ begin execute 'create view public.united as ' || (
      select string_agg('select n, word from public.piece_' || piece % ${TABLES}, ' union all ')
      from generate_series(1, 250) piece); end $$;
    analyze public.pieces`)
  const settings = { DATABASE_URL: database, EXPORT_DATASETS: "public.pieces,public.united", RATE_LIMIT_MAX: "1000" }
  service = await startService(settings)
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const post = (path: string, dataset: string) => fetch(service.url + path, jsonPost({ dataset, where: { word: filter } }))
const sorted = (csv: Buffer) => csv.toString().split("\n").toSorted()
const TOO_LONG = "The source database's answer is too long to be read"

test("a partitioned table is exported with filters that are too long to plan with", async () => {
  const { exportId } = (await (await post("/exports", "pieces")).json()) as { exportId: string }
  await reaches(service, exportId, "completed", 60_000)
  const query = `select * from public.pieces where split_part(word, '-', 1)::int % 10 = 0 and split_part(word, '-', 1)::int < ${VALUES * 10}`
  expect(sorted(await download(service, exportId))).toEqual(sorted(await copyCsv(service, query)))
  const planned = service.log().find(({ message }) => message === "export planned")
  expect(planned?.annotations).toMatchObject({ parts: 1, reason: "its filters are too long to plan with" })
})

test("a view whose plan exceeds the limit of an answer is refused, and the session is ended", async () => {
  const refused = await post("/exports/estimate", "united")
  expect(refused.status).toBe(422)
  expect(((await refused.json()) as ProblemDocument).detail).toStartWith(TOO_LONG)
  await sourceIsLeft(service.database)
  const { exportId } = (await (await post("/exports", "united")).json()) as { exportId: string }
  const { error } = await reaches(service, exportId, "failed", 60_000)
  expect(error).toStartWith(TOO_LONG)
  expect(error).not.toContain("tried")
})

test("six requests with too long plans at once leave memory flat, and shorter filters on the view are served", async () => {
  // It may be 503: a busy database may not make such a plan within the time of an estimate.
  const longOnes = Array.from({ length: 6 }, async () =>
    expect([422, 503]).toContain((await post("/exports/estimate", "united")).status)
  )
  const short = `${service.url}/exports/csv?dataset=pieces&word=${shortFilter}`
  const streams = Array.from({ length: 6 }, async () => (await (await fetch(short)).text()).trimEnd().split("\n").length)
  expect(await Promise.all(streams)).toEqual(Array.from({ length: 6 }, () => 231))
  await Promise.all(longOnes)
  const [, highest] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${service.pid}/status`, "utf8")) ?? []
  expect(Number(highest)).toBeLessThan(150 * 1024)
})
