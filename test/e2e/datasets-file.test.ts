/** What DATASETS_FILE hides and binds stays so, whoever asks in whatever way, and whatever becomes of the table. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import type { Socket } from "node:net"
import { join } from "node:path"
import type postgres from "postgres"
import { copyCsv, createExport, download, reaches, type ProblemDocument } from "../support/client.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { bunFlags } from "../support/runtime.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, serverBundle, temporaryDirectory } from "../support/shared.ts"
import { sourceIsLeft } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

const setup = `
  create schema hr;
  create table hr.staff (
    id int, salary numeric(10,2), name text, tenant int, at timestamptz, day date, "constructor" int, dept text, primary key (salary, id));
  insert into hr.staff select n, n * 1000.5, 'staff ' || n, n % 4, timestamptz '2024-01-01 00:00+00' + n * interval '30 minutes',
    date '2024-01-01' + n, n, chr(65 + n % 3) from generate_series(1, 96) n;
  create table hr.orders (id int primary key, note text); insert into hr.orders values (1, 'a');
  create table hr.moving (id int, name text, secret text, tenant int); insert into hr.moving values (1, 'seen', 'unseen', 1), (2, 'seen', 'unseen', 2);
  create table hr.waiting (id int, name text); insert into hr.waiting select n, 'n' || n from generate_series(1, 20) n;
  create table hr.large as select n as id, repeat('x', 200) as filler from generate_series(1, 300000) n`

const definitions = {
  "hr.staff": {
    name: "people",
    hidden: ["salary", "tenant"],
    labels: { name: "Full, name", id: "=Number" },
    where: { tenant: "in.(1,2)", at: "lt.2024-01-02", day: "not.is.null" },
    maxRows: 20,
    orderBy: "-id",
    parameters: {
      section: { column: "dept", operator: "eq", values: ["A", "B"] },
      since: { column: "day", operator: "gte" },
      code: { column: "id", operator: "lte", pattern: String.raw`\d{1,3}`, allowed: "up to three digits" }
    }
  },
  "hr.moving": { hidden: ["secret"], where: { tenant: "eq.1" } }
}
/** The rows that may be had of the staff. */
const CONDITION = "tenant in (1, 2) and at < '2024-01-02 00:00+00'"

const fileOf = async (datasets: object): Promise<string> => {
  const path = join(await temporaryDirectory(), "datasets.json")
  await writeFile(path, JSON.stringify({ datasets }))
  return path
}

let service: Service
let sql: postgres.Sql
let file: string
beforeAll(async () => {
  const database = await freshDatabase()
  sql = await connect(database, 3)
  await sql.unsafe(setup)
  file = await fileOf(definitions)
  service = await startService({
    DATABASE_URL: database,
    EXPORT_DATASETS: "hr.*",
    DATASETS_FILE: file,
    RATE_LIMIT_MAX: "10000"
  })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const stream = (query: string) => fetch(`${service.url}/exports/csv?${query}`)
const csv = async (query: string) => {
  const response = await stream(query)
  const text = await response.text()
  expect([response.status, text.startsWith("{")]).toEqual([200, false])
  return text
}
const post = (body: object, path = "csv") =>
  fetch(`${service.url}/exports/${path}`, { method: "POST", body: JSON.stringify({ dataset: "people", ...body }) })
const listed = async () => {
  const { datasets } = (await (await fetch(`${service.url}/datasets`)).json()) as { datasets: ReadonlyArray<{ name: string }> }
  return datasets.map(({ name }) => name)
}
const rowsOf = async (query: string): Promise<ReadonlyArray<number>> => {
  const lines = (await csv(`dataset=people&columns=id&header=none${query && `&${query}`}`)).split("\n").slice(0, -1)
  return lines.map(Number)
}
const byHand = async (rest: string): Promise<ReadonlyArray<number>> =>
  (await sql.unsafe(`select id from hr.staff where ${CONDITION} ${rest}`)).map(({ id }) => id as number)

describe("a hidden column", () => {
  const hidden = ["salary", "tenant"]
  const neverThere = [
    "no_such",
    "staff",
    "people",
    "ctid",
    "xmin",
    "tableoid",
    "hr.staff",
    "SALARY",
    "salary ",
    "staff.salary",
    "*"
  ]
  /** Each place that may name a column. */
  const places: Readonly<Record<string, (name: string) => Promise<Response>>> = {
    columns: (name) => stream(`dataset=people&columns=id,${encodeURIComponent(name)}`),
    "columns, quoted": (name) => stream(`dataset=people&columns=${encodeURIComponent(`"${name}"`)}`),
    "columns with a label": (name) => stream(`dataset=people&columns=${encodeURIComponent(`${name}:x`)}`),
    order_by: (name) => stream(`dataset=people&order_by=${encodeURIComponent(name)}`),
    "order_by, descending": (name) => stream(`dataset=people&order_by=${encodeURIComponent(`-${name}`)}`),
    "a filter": (name) => stream(`dataset=people&${encodeURIComponent(name)}=eq.1`),
    "a filter of what cannot be cast": (name) => stream(`dataset=people&${encodeURIComponent(name)}=gt.abc`),
    "a bare value": (name) => stream(`dataset=people&${encodeURIComponent(name)}=1`),
    where: (name) => post({ where: { [name]: "eq.1" } }),
    "where with a wrong operator": (name) => post({ where: { [name]: "like.x" } }),
    "columns of a body": (name) => post({ columns: [name] }),
    "columns of a body with a label": (name) => post({ columns: [{ name, label: "x" }] }),
    "order_by of a body": (name) => post({ order_by: [`-${name}`] }),
    "a member of a body": (name) => post({ [name]: 1 }),
    "where of an estimate": (name) => post({ where: { [name]: "is.null" } }, "estimate")
  }
  test.each(Object.keys(places))("is answered as one that does not exist: %s", async (place) => {
    const answers = async (name: string) => {
      const response = await places[place]!(name)
      const text = await response.text()
      return [response.status, text.replaceAll(JSON.stringify(name).slice(1, -1), "…").replaceAll(encodeURIComponent(name), "…")]
    }
    const [status, text] = await answers("never_there")
    expect(status).toBe(400)
    for (const name of [...hidden, ...neverThere.filter((one) => !(one === "people" || /[ *]/.test(one)))])
      expect([name, ...(await answers(name))]).toEqual([name, status!, text!])
    for (const name of neverThere) expect((await places[place]!(name)).status).toBe(400)
    for (const name of hidden) expect(text).not.toContain(name)
  })

  test("is in no file, in whatever format", async () => {
    for (const format of ["", "&profile=excel", "&header=labels", "&quote=all", "&header=none"]) {
      const text = await csv(`dataset=people${format}`)
      expect(text).not.toMatch(/salary|tenant|\d000\.\d0/)
      expect(text.split(/\r?\n/)[1]!.match(/,/g)).toHaveLength(5)
    }
  })

  test("is in no description: neither in columns nor in the key", async () => {
    const response = await fetch(`${service.url}/datasets/people`)
    const text = await response.text()
    expect(text).not.toMatch(/salary|tenant/)
    const { columns, key, order, maxRows, parameters } = JSON.parse(text) as Record<
      string,
      ReadonlyArray<{ name: string; label: string }>
    >
    expect(columns!.map(({ name, label }) => [name, label])).toEqual([
      ["id", "=Number"],
      ["name", "Full, name"],
      ["at", "at"],
      ["day", "day"],
      ["constructor", "constructor"],
      ["dept", "dept"]
    ])
    expect([key, order, maxRows, parameters] as unknown).toEqual([
      [],
      [{ column: "id", descending: true }],
      20,
      ["section", "since", "code"]
    ])
  })
})

describe("what the file says of a dataset", () => {
  test("is its only name", async () => {
    expect(await listed()).toEqual(["hr.large", "hr.moving", "hr.orders", "hr.waiting", "people"])
    for (const name of ["hr.staff", "staff"]) {
      expect((await stream(`dataset=${name}`)).status).toBe(400)
      expect((await post({ dataset: name })).status).toBe(400)
      expect((await fetch(`${service.url}/datasets/${name}`)).status).toBe(404)
    }
  })

  test("is its order and its most rows, where a request says nothing else", async () => {
    expect(await rowsOf("")).toEqual(await byHand("order by id desc limit 20"))
    expect(await rowsOf("order_by=id")).toEqual(await byHand("order by id limit 20"))
    expect(await rowsOf("total=3")).toEqual(await byHand("order by id desc limit 3"))
    expect(await rowsOf("total=20&order_by=dept,-id")).toEqual(await byHand("order by dept, id desc limit 20"))
    const id = await createExport(service, "?dataset=people&columns=id&header=none")
    expect((await reaches(service, id, "completed")).progress.totalRows).toBe(20)
  })

  test.each(["total", "limit"])("is an error where a request wants more: %s", async (name) => {
    for (const response of [
      await stream(`dataset=people&${name}=21`),
      await post({ [name]: 21 }),
      await post({ [name]: 21 }, "estimate")
    ]) {
      expect(response.status).toBe(400)
      expect(((await response.json()) as ProblemDocument).errors).toEqual([{ field: name, detail: "must be at most 20" }])
    }
  })

  test("holds for each export, however its filters try to widen it", async () => {
    const all = new Set(await byHand(""))
    for (const query of [
      "at=gte.1900-01-01&order_by=-at",
      "at=is.not_null",
      "at=gte.2024-01-02",
      "day=is.null",
      "id=in.(1,2,3,4,95,96)",
      "id=not.in.(0)&name=neq.x",
      "name=like.*",
      `name=${encodeURIComponent("eq.x' or true or 'x'='x")}`,
      "section=A",
      "since=1900-01-01",
      // The same day begins 26 hours apart.
      "timezone=Pacific/Kiritimati",
      "timezone=Pacific/Honolulu&order_by=-at",
      "timezone=Pacific/Honolulu&at=gte.2024-01-01&order_by=-at"
    ]) {
      const found = await rowsOf(query)
      expect([query, found.filter((id) => !all.has(id))]).toEqual([query, []])
      expect(found.length).toBeLessThanOrEqual(20)
    }
    expect(await rowsOf("timezone=Pacific/Honolulu&order_by=-at")).toEqual(await byHand("order by at desc limit 20"))
    expect(await rowsOf("at=gte.2024-01-02")).toEqual([])
  })

  test("is what a header has where it has labels", async () => {
    const first = async (query: string) => (await csv(`dataset=people&columns=id,name,constructor&${query}`)).split(/\r?\n/)[0]
    expect(await first("header=labels")).toBe('=Number,"Full, name",constructor')
    expect(await first("profile=excel")).toMatch(/^\uFEFF?'=Number,"Full, name",constructor$/)
    expect(await first("bom=false")).toBe("id,name,constructor")
    expect((await csv("dataset=people&columns=name:Who,id")).split("\n")[0]).toBe("Who,=Number")
  })

  test("are its parameters, each with what it allows", async () => {
    expect(await rowsOf("section=B&since=2024-01-10&code=40&order_by=id")).toEqual(
      await byHand("and dept = 'B' and day >= '2024-01-10' and id <= 40 order by id limit 20")
    )
    for (const [query, detail] of [
      ["section=C", 'must be one of A, B, not "C"'],
      ["section=eq.A", 'must be one of A, B, not "eq.A"'],
      ["since=soon", 'must be of type date: invalid input syntax for type date: "soon"'],
      ["code=1234", 'must be up to three digits, not "1234"'],
      ["code=1%0A", 'must be up to three digits, not "1\\n"']
    ] as const) {
      const { errors } = (await (await stream(`dataset=people&${query}`)).json()) as ProblemDocument
      expect(errors).toEqual([{ field: query.split("=")[0]!, detail }])
    }
    expect((await post({ section: "A", since: "2024-01-02", code: 5 })).status).toBe(202)
    expect(await (await post({ since: "soon" })).json()).toMatchObject({ status: 400, errors: [{ field: "since" }] })
  })
})

/** Runs a service that cannot start, until it ends. */
const failedStart = async (datasets: object | string) => {
  const path = await fileOf({})
  await writeFile(path, typeof datasets === "string" ? datasets : JSON.stringify({ datasets }))
  const child = Bun.spawn([process.execPath, ...bunFlags, await serverBundle()], {
    env: {
      PATH: process.env["PATH"],
      PORT: "0",
      DATABASE_URL: service.database,
      EXPORT_DATASETS: "hr.*",
      EXPORT_STORAGE_PATH: await temporaryDirectory(),
      DATASETS_FILE: path
    },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe"
  })
  const text = await child.stderr.text()
  expect(await child.exited).toBe(1)
  const lines = text.split("\n").slice(0, -1)
  expect(lines).toHaveLength(1)
  const begin = `Cannot start Sluice: DATASETS_FILE=${JSON.stringify(path)} is wrong: `
  expect(lines[0]!.startsWith(begin)).toBe(true)
  return lines[0]!.slice(begin.length).split("; ")
}

describe("a wrong file stops the start with one line that names", () => {
  test("all that does not fit the database", async () => {
    const known = "id, salary, name, tenant, at, day, constructor, dept"
    const mistakes = await failedStart({
      "hr.staff": {
        hidden: ["wage"],
        labels: { title: "Title" },
        where: { tenant: ["eq.x", "like.1*"], at: "gte.2024-13-01", day: "is.odd" },
        orderBy: "-age",
        filterable: ["nothing"],
        parameters: {
          total: { column: "id", operator: "eq" },
          least: { column: "id", operator: "gte", values: ["1", "one"] },
          odd: { column: "name", operator: "eq", pattern: String.raw`\-` }
        }
      },
      "hr.orders": { name: "hr.moving" },
      "hr.gone": {},
      "public.users": {}
    })
    const text = mistakes.join("; ")
    for (const mistake of [
      `hr.staff: hidden: there is no column "wage"; known are ${known}`,
      `hr.staff: labels: there is no column "title"; known are ${known}`,
      `hr.staff: filterable: there is no column "nothing"; known are ${known}`,
      'hr.staff: where.tenant: must be of type integer: invalid input syntax for type integer: "x"',
      "hr.staff: where.tenant: cannot be compared by like: it is of type integer",
      "hr.staff: where.at: must be of type timestamp with time zone: date/time field value out of range",
      'hr.staff: where.day: must be is.null or is.not_null, not "is.odd"',
      'hr.staff: orderBy: has the unknown column "age"',
      "hr.staff: parameters.total: every dataset has a parameter of that name",
      'hr.staff: parameters.least: must be of type integer: invalid input syntax for type integer: "one"',
      String.raw`hr.staff: parameters.odd: "\\-" is no regular expression`,
      "hr.gone: is not there, or EXPORT_DATASETS does not name it",
      "public.users: is not there, or EXPORT_DATASETS does not name it"
    ])
      expect(text).toContain(mistake)
    expect(text).toMatch(/hr\.(orders|moving): name: there is another dataset hr\.moving/)
  })

  test.each<[string, object | string, ReadonlyArray<RegExp>]>([
    [
      "all members that are unknown or wrong",
      { "hr.staff": { hide: ["id"], maxRows: 0, where: { id: 1 } }, "hr.*": {}, "hr.orders": { labels: { id: "" } } },
      [/hr\.staff\.hide: is unexpected/, /hr\.staff\.maxRows: /, /hr\.staff\.where\.id: /, /hr\.orders\.labels\.id: /]
    ],
    ["that it is no JSON", "{", [/^it is not JSON: /]]
  ])("%s", async (_, datasets, expected) => {
    const text = (await failedStart(datasets)).join("; ")
    for (const mistake of expected) expect(text).toMatch(mistake)
  })
})

/** Writes the file anew, and waits until the service has read it. */
const refresh = async (datasets: object, what: string, seen: () => Promise<boolean>) => {
  await writeFile(file, JSON.stringify({ datasets }))
  service.signal("SIGHUP")
  await until(what, seen)
}
const errorsLogged = () =>
  service
    .log()
    .filter(({ logLevel }) => logLevel === "ERROR")
    .map(({ message }) => String(message))

describe("a column that the file names and that is there no more", () => {
  test("is not had by the name of another, with which it changed names", async () => {
    const swap =
      "alter table hr.moving rename name to other; alter table hr.moving rename secret to name; alter table hr.moving rename other to secret"
    await sql.unsafe(swap)
    const response = await stream("dataset=hr.moving&columns=name")
    const text = await response.text()
    await sql.unsafe(swap)
    expect([response.status, text.includes("unseen")]).toEqual([500, false])
    expect((JSON.parse(text) as ProblemDocument).detail).toBe("Cannot export hr.moving: its column name is another one now")
  })

  test.each([
    ["the hidden one is renamed", "rename column secret to open", 'hr.moving: hidden: there is no column "secret"'],
    ["the hidden one is dropped", "drop column secret", 'hr.moving: hidden: there is no column "secret"'],
    ["that of its condition is renamed", "rename column tenant to lodger", 'hr.moving: where: there is no column "tenant"'],
    [
      "that of its condition has another type",
      "alter column tenant type date using now()",
      "hr.moving: where.tenant: must be of type date"
    ]
  ])("withholds the dataset until both fit again: %s", async (_, change, mistake) => {
    const before = errorsLogged().length
    expect(await csv("dataset=hr.moving&columns=id,name")).toBe("id,name\n1,seen\n")
    await sql.unsafe(`create table hr.kept as table hr.moving; alter table hr.moving ${change}`)
    try {
      // Also in the moment before it is noticed, nothing is shown that was hidden.
      expect(await (await stream("dataset=hr.moving")).text()).not.toContain("unseen")
      await refresh(definitions, "it to be withheld", async () => !(await listed()).includes("hr.moving"))
      expect(errorsLogged().slice(before)).toContainEqual(expect.stringContaining(mistake))
      for (const query of ["", "&columns=open", "&columns=id"])
        expect((await stream(`dataset=hr.moving${query}`)).status).toBe(400)
      expect(await listed()).toContain("people")
      const fixed = {
        ...definitions,
        "hr.moving": { hidden: (await columnsOf("hr.moving")).filter((name) => !["id", "name"].includes(name)) }
      }
      await refresh(fixed, "it to be back", async () => (await listed()).includes("hr.moving"))
      expect(await csv("dataset=hr.moving")).toBe("id,name\n1,seen\n2,seen\n")
    } finally {
      await sql.unsafe("drop table hr.moving; alter table hr.kept rename to moving")
      await refresh(
        definitions,
        "all to be as before",
        async () => (await stream("dataset=hr.moving&columns=id,name,tenant")).status === 200
      )
    }
  })

  test("keeps what was known when the file cannot be read", async () => {
    const before = errorsLogged().length
    await writeFile(file, "{")
    service.signal("SIGHUP")
    await until("it to be told", () => errorsLogged().length > before)
    expect(errorsLogged().at(-1)).toContain("it is not JSON")
    expect(await csv("dataset=hr.moving")).toBe("id,name,tenant\n1,seen,1\n")
    expect((await stream("dataset=hr.moving&columns=secret")).status).toBe(400)
    await writeFile(file, JSON.stringify({ datasets: definitions }))
  })
})
const columnsOf = async (table: string): Promise<ReadonlyArray<string>> => {
  const rows = await sql`select attname from pg_attribute where attrelid = ${table}::regclass and attnum > 0 and not attisdropped`
  return rows.map(({ attname }) => attname as string)
}

/** Fills all workers with exports that wait for a lock, so that the next one is looked at after them. */
const queued = async (query: string, meanwhile: () => Promise<void>): Promise<string> =>
  sql.begin(async (holder) => {
    await holder.unsafe("lock table hr.orders")
    for (let nth = 0; nth < 3; nth++) await createExport(service, "?dataset=hr.orders")
    await until("three exports to wait", async () => {
      const [row] = await sql`select count(*)::int as waiting from pg_stat_activity
        where application_name = 'sluice source' and wait_event = 'relation' and datname = current_database()`
      return row!["waiting"] === 3
    })
    const id = await createExport(service, query)
    await meanwhile()
    return id
  })

describe("an export that waits for its table meanwhile", () => {
  const waiting = "hr.waiting"
  const withDefinition = (definition: object) => ({ ...definitions, [waiting]: definition })
  const described = async () =>
    (await fetch(`${service.url}/datasets/${waiting}`)).json() as Promise<{
      columns: ReadonlyArray<object>
      maxRows: number | null
    }>
  const reset = () =>
    refresh(definitions, "all to be as before", async () => {
      const { columns, maxRows } = await described()
      return columns?.length === 2 && maxRows === null
    })

  test.each(["columns=name", "columns=id&order_by=name", "columns=id&name=neq.x", "header=labels"])(
    "fails when a column of it is hidden: %s",
    async (query) => {
      const id = await queued(`?dataset=${waiting}&${query}`, () =>
        refresh(withDefinition({ hidden: ["name"] }), "it to be hidden", async () => (await described()).columns.length === 1)
      )
      expect((await reaches(service, id, "failed")).error).toBe(`Cannot export ${waiting}: its column name is gone`)
      expect((await fetch(`${service.url}/exports/${id}/download`)).status).toBe(409)
      await reset()
    }
  )

  test("has the conditions and the most rows that there are when it is read", async () => {
    const bound = withDefinition({ where: { id: "gt.5" }, maxRows: 3 })
    const id = await queued(`?dataset=${waiting}&columns=id&total=10&order_by=id`, () =>
      refresh(bound, "it to be bound", async () => (await described()).maxRows === 3)
    )
    await reaches(service, id, "completed")
    expect(String(await download(service, id))).toBe("id\n6\n7\n8\n")
    await reset()
  })

  test("fails when its dataset has another name", async () => {
    const id = await queued(`?dataset=${waiting}`, () =>
      refresh(withDefinition({ name: "renamed" }), "it to be renamed", async () => (await listed()).includes("renamed"))
    )
    expect((await reaches(service, id, "failed")).error).toBe(`Cannot export ${waiting}: there is no such dataset any more`)
    await reset()
  })
})

test("a table cannot be altered while a stream of it is paused, and the file is whole", async () => {
  let stalled: Socket | undefined
  const head = "GET /exports/csv?dataset=hr.large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  const wire = exchange(service.url, head, (socket) => {
    if (!stalled) stalled = socket.pause()
  })
  await until("the stream to begin", () => stalled !== undefined)
  const expected = await copyCsv(service, "select * from hr.large")
  for (const change of [
    "alter table hr.large drop column filler",
    "alter table hr.large alter column id type bigint",
    "alter table hr.large rename column filler to other",
    "truncate hr.large",
    "drop table hr.large"
  ]) {
    const altered = sql.unsafe(`set local lock_timeout = '50ms'; ${change}`)
    expect(await altered.then(String, ({ code }: { code: string }) => code)).toBe("55P03")
  }
  // Rows may change; the file has those of its snapshot.
  await sql.unsafe("delete from hr.large where id % 2 = 0; update hr.large set filler = 'y' where id % 3 = 0")
  stalled!.resume()
  expect(chunkedBody(await wire).equals(expected)).toBe(true)
  await sourceIsLeft(service.database)
  await sql.unsafe("set local lock_timeout = '1s'; alter table hr.large drop column filler")
})
