/** What DATASETS_FILE hides and limits stays hidden and limited when the file, or a table, is changed. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import type { Socket } from "node:net"
import { copyCsv, createExport, download, reaches, type ProblemDocument } from "../support/client.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { sourceIsLeft, sourceWaits } from "../support/source.ts"
import { until } from "../support/until.ts"
import { definitions, useStaff } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const staff = useStaff()

/** Replaces the file, and waits until the service has read it. */
const refresh = async (datasets: object, what: string, seen: () => Promise<boolean>) => {
  await writeFile(staff.file, JSON.stringify({ datasets }))
  staff.service.signal("SIGHUP")
  await until(what, seen)
}
const errorsLogged = () =>
  staff.service
    .log()
    .filter(({ logLevel }) => logLevel === "ERROR")
    .map(({ message }) => String(message))

describe("a column that the file names and that no longer exists", () => {
  test("is not exported under the name of another column, with which it exchanged names", async () => {
    const swap =
      "alter table hr.moving rename name to other; alter table hr.moving rename secret to name; alter table hr.moving rename other to secret"
    await staff.sql.unsafe(swap)
    const response = await staff.stream("dataset=hr.moving&columns=name")
    const text = await response.text()
    await staff.sql.unsafe(swap)
    expect([response.status, text.includes("unseen")]).toEqual([422, false])
    expect((JSON.parse(text) as ProblemDocument).detail).toBe("Cannot export hr.moving: its column name is another one now")
  })

  test.each([
    ["the hidden column is renamed", "rename column secret to open", 'hr.moving: hidden: there is no column "secret"'],
    ["the hidden column is dropped", "drop column secret", 'hr.moving: hidden: there is no column "secret"'],
    ["the column of a condition is renamed", "rename column tenant to lodger", 'hr.moving: where: there is no column "tenant"'],
    [
      "the column of a condition gets another type",
      "alter column tenant type date using now()",
      "hr.moving: where.tenant: must be of type date"
    ]
  ])("withholds the dataset until both fit again: %s", async (_, change, mistake) => {
    const before = errorsLogged().length
    expect(await staff.csv("dataset=hr.moving&columns=id,name")).toBe("id,name\n1,seen\n")
    await staff.sql.unsafe(`create table hr.kept as table hr.moving; alter table hr.moving ${change}`)
    try {
      // Before the change is noticed, nothing hidden is shown either.
      expect(await (await staff.stream("dataset=hr.moving")).text()).not.toContain("unseen")
      await refresh(definitions, "the dataset to be withheld", async () => !(await staff.listed()).includes("hr.moving"))
      expect(errorsLogged().slice(before)).toContainEqual(expect.stringContaining(mistake))
      for (const query of ["", "&columns=open", "&columns=id"])
        expect((await staff.stream(`dataset=hr.moving${query}`)).status).toBe(400)
      expect(await staff.listed()).toContain("people")
      const fixed = {
        ...definitions,
        "hr.moving": { hidden: (await columnsOf("hr.moving")).filter((name) => !["id", "name"].includes(name)) }
      }
      await refresh(fixed, "the dataset to be back", async () => (await staff.listed()).includes("hr.moving"))
      expect(await staff.csv("dataset=hr.moving")).toBe("id,name\n1,seen\n2,seen\n")
    } finally {
      await staff.sql.unsafe("drop table hr.moving; alter table hr.kept rename to moving")
      await refresh(
        definitions,
        "all to be as before",
        async () => (await staff.stream("dataset=hr.moving&columns=id,name,tenant")).status === 200
      )
    }
  })

  test("keeps the definitions that were read before when the file cannot be read", async () => {
    const before = errorsLogged().length
    await writeFile(staff.file, "{")
    staff.service.signal("SIGHUP")
    await until("the error to be logged", () => errorsLogged().length > before)
    expect(errorsLogged().at(-1)).toContain("the file is not JSON")
    expect(await staff.csv("dataset=hr.moving")).toBe("id,name,tenant\n1,seen,1\n")
    expect((await staff.stream("dataset=hr.moving&columns=secret")).status).toBe(400)
    await writeFile(staff.file, JSON.stringify({ datasets: definitions }))
  })
})
const columnsOf = async (table: string): Promise<ReadonlyArray<string>> => {
  const rows =
    await staff.sql`select attname from pg_attribute where attrelid = ${table}::regclass and attnum > 0 and not attisdropped`
  return rows.map(({ attname }) => attname as string)
}

/** Fills all workers with exports that wait for a lock, so that the next export starts after them. */
const queued = async (query: string, meanwhile: () => Promise<void>): Promise<string> =>
  staff.sql.begin(async (holder) => {
    await holder.unsafe("lock table hr.orders")
    for (let nth = 0; nth < 3; nth++) await createExport(staff.service, "?dataset=hr.orders")
    await sourceWaits(staff.service.database, 3)
    const id = await createExport(staff.service, query)
    await meanwhile()
    return id
  })

describe("an export whose dataset gets another definition while it is queued", () => {
  const waiting = "hr.waiting"
  const withDefinition = (definition: object) => ({ ...definitions, [waiting]: definition })
  const described = async () =>
    (await fetch(`${staff.service.url}/datasets/${waiting}`)).json() as Promise<{
      columns: ReadonlyArray<object>
      maxRows: number | null
    }>
  const reset = () =>
    refresh(definitions, "all to be as before", async () => {
      const { columns, maxRows } = await described()
      return columns?.length === 2 && maxRows === null
    })

  test.each(["columns=name", "columns=id&order_by=name", "columns=id&name=neq.x", "header=labels"])(
    "fails when one of its columns is hidden now: %s",
    async (query) => {
      const id = await queued(`?dataset=${waiting}&${query}`, () =>
        refresh(
          withDefinition({ hidden: ["name"] }),
          "the column to be hidden",
          async () => (await described()).columns.length === 1
        )
      )
      expect((await reaches(staff.service, id, "failed")).error).toBe(`Cannot export ${waiting}: its column name is gone`)
      expect((await fetch(`${staff.service.url}/exports/${id}/download`)).status).toBe(409)
      await reset()
    }
  )

  test("has the conditions and the `maxRows` that are valid when it is read", async () => {
    const bound = withDefinition({ where: { id: "gt.5" }, maxRows: 3 })
    const id = await queued(`?dataset=${waiting}&columns=id&total=10&order_by=id`, () =>
      refresh(bound, "the definition to be read", async () => (await described()).maxRows === 3)
    )
    expect(await reaches(staff.service, id, "completed")).toMatchObject({ truncated: true, truncatedBy: "maxRows" })
    expect(String(await download(staff.service, id))).toBe("id\n6\n7\n8\n")
    await reset()
  })

  test("fails when its dataset has another name now", async () => {
    const id = await queued(`?dataset=${waiting}`, () =>
      refresh(withDefinition({ name: "renamed" }), "the dataset to be renamed", async () =>
        (await staff.listed()).includes("renamed")
      )
    )
    expect((await reaches(staff.service, id, "failed")).error).toBe(`Cannot export ${waiting}: there is no such dataset any more`)
    await reset()
  })
})

test("a table cannot be altered while a stream of it is paused, and the file is complete", async () => {
  let stalled: Socket | undefined
  const head = "GET /exports/csv?dataset=hr.large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  const wire = exchange(staff.service.url, head, (socket) => {
    if (!stalled) stalled = socket.pause()
  })
  await until("the stream to begin", () => stalled !== undefined)
  const expected = await copyCsv(staff.service, "select * from hr.large")
  for (const change of [
    "alter table hr.large drop column filler",
    "alter table hr.large alter column id type bigint",
    "alter table hr.large rename column filler to other",
    "truncate hr.large",
    "drop table hr.large"
  ]) {
    const altered = staff.sql.unsafe(`set local lock_timeout = '50ms'; ${change}`)
    expect(await altered.then(String, ({ code }: { code: string }) => code)).toBe("55P03")
  }
  // Rows may change, and the file has the rows of its snapshot.
  await staff.sql.unsafe("delete from hr.large where id % 2 = 0; update hr.large set filler = 'y' where id % 3 = 0")
  stalled!.resume()
  expect(chunkedBody(await wire).equals(expected)).toBe(true)
  await sourceIsLeft(staff.service.database)
  await staff.sql.unsafe("set local lock_timeout = '1s'; alter table hr.large drop column filler")
})
