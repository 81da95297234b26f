/** What DATASETS_FILE hides and limits stays hidden and limited, however it is asked for. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { createExport, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { useStaff } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const staff = useStaff()

/** The rows of the staff that may be exported. */
const CONDITION = "tenant in (1, 2) and at < '2024-01-02 00:00+00'"

const post = (body: object, path = "csv") =>
  fetch(`${staff.service.url}/exports/${path}`, jsonPost({ dataset: "people", ...body }))
const rowsOf = async (query: string): Promise<ReadonlyArray<number>> => {
  const lines = (await staff.csv(`dataset=people&columns=id&header=none${query && `&${query}`}`)).split("\n").slice(0, -1)
  return lines.map(Number)
}
const byHand = async (rest: string): Promise<ReadonlyArray<number>> =>
  (await staff.sql.unsafe(`select id from hr.staff where ${CONDITION} ${rest}`)).map(({ id }) => id as number)

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
  /** Every place of a request that may name a column. */
  const places: Readonly<Record<string, (name: string) => Promise<Response>>> = {
    columns: (name) => staff.stream(`dataset=people&columns=id,${encodeURIComponent(name)}`),
    "columns, quoted": (name) => staff.stream(`dataset=people&columns=${encodeURIComponent(`"${name}"`)}`),
    "columns with a label": (name) => staff.stream(`dataset=people&columns=${encodeURIComponent(`${name}:x`)}`),
    order_by: (name) => staff.stream(`dataset=people&order_by=${encodeURIComponent(name)}`),
    "order_by, descending": (name) => staff.stream(`dataset=people&order_by=${encodeURIComponent(`-${name}`)}`),
    "a filter": (name) => staff.stream(`dataset=people&${encodeURIComponent(name)}=eq.1`),
    "a filter of what cannot be cast": (name) => staff.stream(`dataset=people&${encodeURIComponent(name)}=gt.abc`),
    "a bare value": (name) => staff.stream(`dataset=people&${encodeURIComponent(name)}=1`),
    where: (name) => post({ where: { [name]: "eq.1" } }),
    "where with a wrong operator": (name) => post({ where: { [name]: "like.x" } }),
    "columns of a body": (name) => post({ columns: [name] }),
    "columns of a body with a label": (name) => post({ columns: [{ name, label: "x" }] }),
    "order_by of a body": (name) => post({ order_by: [`-${name}`] }),
    "a member of a body": (name) => post({ [name]: 1 }),
    "where of an estimate": (name) => post({ where: { [name]: "is.null" } }, "estimate")
  }
  test.each(Object.keys(places))("gets the same answer as a column that does not exist: %s", async (place) => {
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

  test("is in no file, whatever its format", async () => {
    for (const format of ["", "&profile=excel", "&header=labels", "&quote=all", "&header=none"]) {
      const text = await staff.csv(`dataset=people${format}`)
      expect(text).not.toMatch(/salary|tenant|\d000\.\d0/)
      expect(text.split(/\r?\n/)[1]!.match(/,/g)).toHaveLength(5)
    }
  })

  test("is in no description of the dataset, neither in its columns nor in its key", async () => {
    const response = await fetch(`${staff.service.url}/datasets/people`)
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

describe("the definition of a dataset", () => {
  test("gives its only name", async () => {
    expect(await staff.listed()).toEqual(["hr.large", "hr.moving", "hr.orders", "hr.waiting", "people"])
    for (const name of ["hr.staff", "staff"]) {
      expect((await staff.stream(`dataset=${name}`)).status).toBe(400)
      expect((await post({ dataset: name })).status).toBe(400)
      expect((await fetch(`${staff.service.url}/datasets/${name}`)).status).toBe(404)
    }
  })

  test("gives the order and `maxRows` for requests without an order or a total", async () => {
    expect(await rowsOf("")).toEqual(await byHand("order by id desc limit 20"))
    expect(await rowsOf("order_by=id")).toEqual(await byHand("order by id limit 20"))
    expect(await rowsOf("total=3")).toEqual(await byHand("order by id desc limit 3"))
    expect(await rowsOf("total=20&order_by=dept,-id")).toEqual(await byHand("order by dept, id desc limit 20"))
    const id = await createExport(staff.service, "?dataset=people&columns=id&header=none")
    expect((await reaches(staff.service, id, "completed")).progress.totalRows).toBe(20)
  })

  test.each(["total", "limit"])("refuses a request for more than `maxRows` rows: %s", async (name) => {
    for (const response of [
      await staff.stream(`dataset=people&${name}=21`),
      await post({ [name]: 21 }),
      await post({ [name]: 21 }, "estimate")
    ]) {
      expect(response.status).toBe(400)
      expect(((await response.json()) as ProblemDocument).errors).toEqual([{ field: name, detail: "must be at most 20" }])
    }
  })

  test("has conditions that hold for every export, however its filters try to widen them", async () => {
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

  test("gives the labels of a header", async () => {
    const first = async (query: string) =>
      (await staff.csv(`dataset=people&columns=id,name,constructor&${query}`)).split(/\r?\n/)[0]
    expect(await first("header=labels")).toBe('=Number,"Full, name",constructor')
    expect(await first("profile=excel")).toMatch(/^\uFEFF?'=Number,"Full, name",constructor$/)
    expect(await first("bom=false")).toBe("id,name,constructor")
    expect((await staff.csv("dataset=people&columns=name:Who,id")).split("\n")[0]).toBe("Who,=Number")
  })

  test("gives parameters, each with the values that it allows", async () => {
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
      const { errors } = (await (await staff.stream(`dataset=people&${query}`)).json()) as ProblemDocument
      expect(errors).toEqual([{ field: query.split("=")[0]!, detail }])
    }
    expect((await post({ section: "A", since: "2024-01-02", code: 5 })).status).toBe(202)
    expect(await (await post({ since: "soon" })).json()).toMatchObject({ status: 400, errors: [{ field: "since" }] })
  })
})
