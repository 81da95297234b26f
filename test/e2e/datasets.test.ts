/** Only what EXPORT_DATASETS names may be exported, and it is exported as the database has it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { copyCsv, createExport, download, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { sourceWaits } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(90_000)

const setup = `
  create schema reporting; create schema secret; create schema "Odd";
  create table reporting.orders (id int primary key, total numeric(10,2), "note, or not" text);
  comment on table reporting.orders is 'What was sold'; comment on column reporting.orders.total is 'With tax';
  insert into reporting.orders select n, n * 1.5, case n % 3 when 0 then 'a "b", c' when 1 then '' end from generate_series(1, 1000) n;
  create view reporting.large as select * from reporting.orders where total > 1000;
  create materialized view reporting.sums as select id % 10 as digit, sum(total) from reporting.orders group by 1;
  create table reporting.days (day date, place text, primary key (place, day)) partition by range (day);
  create table reporting.days_1 partition of reporting.days for values from ('2026-01-01') to ('2026-07-01');
  create table reporting.days_2 partition of reporting.days for values from ('2026-07-01') to ('2027-01-01');
  create table reporting.archive () inherits (reporting.orders);
  insert into reporting.days select date '2026-01-01' + n, 'here' from generate_series(0, 364) n;
  create table "Odd"."a ""/b" ("c ""d" text); insert into "Odd"."a ""/b" values (E'e\\nf');
  create table public."reporting.large" (id int);
  create table secret.salaries (name text); create sequence reporting.numbers;
  analyze`

/** The name of a dataset, and a query whose result COPY writes. */
const named = [
  ['Odd.a "/b', 'select * from "Odd"."a ""/b"'],
  ["reporting.days", "select * from reporting.days"],
  ["reporting.large", "select * from reporting.large"],
  ["reporting.orders", "select * from reporting.orders"],
  ["reporting.sums", "select * from reporting.sums"],
  ["users", "select * from users"]
] as const

let service: Service
let sql: postgres.Sql
beforeAll(async () => {
  const database = await freshDatabase()
  sql = await connect(database, 2)
  await sql.unsafe(setup)
  service = await startService({ DATABASE_URL: database, EXPORT_DATASETS: 'public.users,reporting.*,"Odd"."a ""/b"' })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const json = async (path: string) => (await (await fetch(service.url + path)).json()) as Record<string, unknown>
const asked = (name: string) => `?dataset=${encodeURIComponent(name)}`
const listed = async () => {
  const { datasets } = (await json("/datasets")) as {
    datasets: ReadonlyArray<{ name: string; kind: string; links: { self: string } }>
  }
  return datasets
}

/** Returns the status and the errors of an answer. */
const refused = async (response: Promise<Response>) => {
  const { status, errors } = (await (await response).json()) as ProblemDocument
  return [status, ...errors]
}

/** Asks for an export of a locked table, and changes the table while the export waits for it. */
const changing = async <A>(ask: () => Promise<A>, change: string) => {
  await sql.unsafe("drop table if exists reporting.changing cascade; create table reporting.changing as table reporting.orders")
  service.signal("SIGHUP")
  // The columns of an earlier test must not be taken for those of this one.
  await until("the new table to be a dataset", async () => {
    const { columns = [] } = (await json("/datasets/reporting.changing")) as { columns?: ReadonlyArray<{ type: string }> }
    return columns.map(({ type }) => type).join() === "integer,numeric(10,2),text"
  })
  // The answer is in an object, so that it is not awaited before the lock is released.
  return sql.begin(async (holder) => {
    await holder.unsafe("lock table reporting.changing")
    const answer = ask()
    await sourceWaits(service.database)
    await holder.unsafe(change)
    return { answer }
  })
}
const job = () => createExport(service, asked("reporting.changing"))
const stream = () => fetch(`${service.url}/exports/csv${asked("reporting.changing")}`).then((response) => response.text())

describe("a dataset that EXPORT_DATASETS names", () => {
  test("is listed; partitions and other children are part of their table", async () => {
    const datasets = await listed()
    expect(Object.fromEntries(datasets.map(({ name, kind }) => [name, kind]))).toEqual({
      'Odd.a "/b': "table",
      "reporting.days": "partitioned table",
      "reporting.large": "view",
      "reporting.orders": "table",
      "reporting.sums": "materialized view",
      users: "table"
    })
    for (const { name, links } of datasets) expect((await json(links.self))["name"]).toBe(name)
  })

  test("is described as in the catalog", async () => {
    const compared = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "isdistinct", "is"]
    expect(await json("/api/v1/datasets/reporting.orders")).toEqual({
      name: "reporting.orders",
      kind: "table",
      comment: "What was sold",
      estimatedRows: 1000,
      estimatedBytes: expect.any(Number),
      columns: [
        { name: "id", type: "integer", nullable: false, comment: null, label: "id", operators: compared },
        { name: "total", type: "numeric(10,2)", nullable: true, comment: "With tax", label: "total", operators: compared },
        {
          name: "note, or not",
          type: "text",
          nullable: true,
          comment: null,
          label: "note, or not",
          operators: [...compared.slice(0, -1), "like", "ilike", "match", "imatch", "fts", "plfts", "phfts", "wfts", "is"]
        }
      ],
      key: ["id"],
      order: [],
      maxRows: null,
      parameters: [],
      links: {
        self: "/api/v1/datasets/reporting.orders",
        stream: "/api/v1/exports/csv?dataset=reporting.orders"
      }
    })
    expect(await json("/datasets/reporting.days")).toMatchObject({ estimatedRows: 365, key: ["place", "day"] })
    expect(await json("/datasets/reporting.large")).toMatchObject({ estimatedRows: null, key: [] })
    expect(await json("/datasets/users")).toMatchObject({ parameters: ["country_code", "subscription_tier", "min_ltv"] })
  })

  test.each(named)("is exported as COPY writes it, as a job and as a stream: %s", async (name, query) => {
    const expected = await copyCsv(service, query)
    const id = await createExport(service, asked(name))
    await reaches(service, id, "completed")
    expect((await download(service, id)).equals(expected)).toBe(true)
    const streamed = await fetch(`${service.url}/exports/csv${asked(name)}`)
    expect(Buffer.from(await streamed.arrayBuffer()).equals(expected)).toBe(true)
  })

  test("gives its file a name that any system accepts", async () => {
    const id = await createExport(service, asked('Odd.a "/b'))
    await reaches(service, id, "completed")
    const { headers } = await fetch(`${service.url}/exports/${id}/download`, { method: "HEAD" })
    expect(headers.get("Content-Disposition")).toMatch(/^attachment; filename="Odd\.a___b-\d{8}-[0-9a-f]{8}\.csv"$/)
  })

  test("has columns and parameters of its own, in a query and in a body", async () => {
    const columns = { field: "columns", detail: 'has the unknown column "email"; known are id, total, note, or not' }
    const allowed = [
      "is not a parameter; allowed are columns, dataset, order_by, total, limit, profile, encoding, delimiter, quoteChar, quote, null",
      "newline, bom, header, formulas, timezone, datetime, boolean, binary, decimal"
    ].join(", ")
    const columnsToo = "; filterable columns are id, total, note, or not"
    const parameter = { field: "country_code", detail: allowed + columnsToo }
    const path = `${service.url}/exports/csv`
    expect(await refused(fetch(`${path}?dataset=reporting.orders&columns=id,email`))).toEqual([400, columns])
    expect(await refused(fetch(`${path}?dataset=reporting.orders&country_code=US`, { method: "POST" }))).toEqual([400, parameter])
    for (const [wrong, error] of [
      [{ columns: ["email"] }, columns],
      [{ country_code: "US" }, { ...parameter, detail: allowed.replace("decimal", "decimal, where") }]
    ] as const) {
      const body = { dataset: "reporting.orders", ...wrong }
      expect(await refused(fetch(path, jsonPost(body)))).toEqual([400, error])
    }
    const exported = async (body: object) => {
      const init = jsonPost({ dataset: "reporting.orders", ...body })
      const { exportId } = (await (await fetch(path, init)).json()) as { exportId: string }
      await reaches(service, exportId, "completed")
      return String(await download(service, exportId))
    }
    expect(await exported({ columns: ["total", "id"], total: 2 })).toBe("total,id\n1.50,1\n3.00,2\n")
    const sorted = { columns: ["note, or not", "id"], order_by: ["-note, or not", "-id"], where: { id: "lte.3" } }
    expect(await exported(sorted)).toBe('"note, or not",id\n,2\n"a ""b"", c",3\n"",1\n')
  })
})

describe("a relation that cannot be exported", () => {
  test.each([
    "secret.salaries",
    "reporting.days_1",
    "reporting.archive",
    "reporting.numbers",
    "pg_catalog.pg_authid",
    "no.such",
    "USERS",
    "public.users"
  ])("gets the same answer as one that does not exist: %s", async (name) => {
    const known = (await listed()).map((dataset) => dataset.name).join(", ")
    for (const init of [{}, { method: "POST" }, jsonPost({ dataset: name })]) {
      const response = await fetch(`${service.url}/exports/csv${"body" in init ? "" : asked(name)}`, init)
      expect(response.status).toBe(400)
      const { errors } = (await response.json()) as ProblemDocument
      expect(errors).toEqual([{ field: "dataset", detail: `must be one of ${known}, not ${JSON.stringify(name)}` }])
    }
    const described = await fetch(`${service.url}/datasets/${encodeURIComponent(name)}`)
    expect(described.status).toBe(404)
    expect(((await described.json()) as ProblemDocument).detail).toBe(`There is no dataset ${JSON.stringify(name)}`)
  })

  test("because another has its name, or because it does not exist, is logged", async () => {
    const two = await startService({
      DATABASE_URL: service.database,
      EXPORT_DATASETS: 'reporting.large,public."reporting.large",public.nowhere,empty.*'
    })
    expect(two.log().map(({ message }) => message)).toContain(
      "cannot be exported: reporting.large has the name of another dataset; give it another one in DATASETS_FILE"
    )
    for (const name of ["public.nowhere", "empty.*"])
      expect(two.log().map(({ message }) => message)).toContain(
        `cannot be exported: ${name} does not exist, or this role may not read it`
      )
    expect(await (await fetch(`${two.url}/datasets/reporting.large`)).json()).toMatchObject({ kind: "table" })
    expect(await two.stop()).toBe(0)
  })

  test("because it has no columns is logged, however it is named", async () => {
    const database = await freshDatabase()
    const owner = await connect(database, 1)
    await owner.unsafe(
      "create schema bare; create table bare.nothing (); create table bare.something (id int); create table public.none ()"
    )
    const bare = await startService({ DATABASE_URL: database, EXPORT_DATASETS: "bare.*,public.none" })
    const said = bare.log().map(({ message }) => String(message))
    expect(said.filter((message) => message.includes("be exported"))).toEqual([
      "may be exported: bare.something",
      "cannot be exported: bare.nothing has no columns that this role may read",
      "cannot be exported: public.none has no columns that this role may read"
    ])
    expect(await bare.stop()).toBe(0)
  })

  test("because EXPORT_DATASETS is not set is a 400, and the log says how to set it", async () => {
    const none = await startService({ EXPORT_DATASETS: "" })
    expect(none.log().map(({ message }) => message)).toContain(
      "nothing may be exported: EXPORT_DATASETS names what may, such as public.orders,reporting.*"
    )
    expect(await (await fetch(`${none.url}/datasets`)).json()).toEqual({ datasets: [] })
    const response = await fetch(`${none.url}/exports/csv`, { method: "POST" })
    expect(((await response.json()) as ProblemDocument).errors).toEqual([
      { field: "dataset", detail: "cannot be chosen: no datasets are configured (EXPORT_DATASETS)" }
    ])
    expect(await none.stop()).toBe(0)
  })
})

describe("a table that is changed between the request and the run", () => {
  test.each([
    ["alter column total type numeric(12,4)", "is numeric(12,4) now, and was numeric(10,2) when the export was asked for"],
    ["drop column total", 'column "total" does not exist']
  ])("fails the export when its columns have changed: %s", async (change, reason) => {
    const id = await (await changing(job, `alter table reporting.changing ${change}`)).answer
    expect((await reaches(service, id, "failed")).error).toContain(reason)
  })

  test("is exported as it is then, even if its rows were rewritten while the export waited", async () => {
    const rewriting = "alter table reporting.changing alter column total type numeric(10,2) using total + 1"
    const id = await (await changing(job, rewriting)).answer
    await reaches(service, id, "completed")
    const file = await download(service, id)
    expect(file.equals(await copyCsv(service, "select * from reporting.changing"))).toBe(true)
    expect(file.length).toBeGreaterThan(10_000)
    expect(service.log().filter(({ message }) => String(message).startsWith("export will be tried again"))).toEqual([])
  })

  test.each([
    ["a table", "alter table reporting.changing rename to past; create table reporting.changing as table reporting.past"],
    [
      "a view",
      `alter table reporting.changing rename to past; create table reporting.moved as select * from reporting.past where id <= 500;
        delete from reporting.past where id <= 500;
        create view reporting.changing as select * from reporting.past union all select * from reporting.moved`
    ]
  ])("is exported as it is then, even if another relation has its name now: %s", async (_, change) => {
    const { answer } = await changing(stream, change)
    expect((await answer).split("\n").toSorted()).toEqual(
      String(await copyCsv(service, "select * from reporting.orders"))
        .split("\n")
        .toSorted()
    )
    await sql.unsafe("drop table if exists reporting.moved, reporting.past cascade")
  })

  test("is a stream of no rows once they are deleted", async () => {
    const { answer } = await changing(stream, "truncate reporting.changing")
    expect(await answer).toBe('id,total,"note, or not"\n')
  })

  test("is no dataset any more once it is dropped, and the export says so", async () => {
    const id = await (await changing(job, "drop table reporting.changing")).answer
    expect((await reaches(service, id, "failed")).error).toContain('relation "reporting.changing" does not exist')
    service.signal("SIGHUP")
    await until("the dataset not to be listed any more", async () =>
      (await listed()).every(({ name }) => name !== "reporting.changing")
    )
  })
})
