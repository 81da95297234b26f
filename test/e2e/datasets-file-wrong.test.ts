/** A wrong DATASETS_FILE stops the start. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { writeFile } from "node:fs/promises"
import { bunFlags } from "../support/runtime.ts"
import { serverBundle, temporaryDirectory } from "../support/shared-service.ts"
import { fileOf, useStaff } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const staff = useStaff()

/** Runs a service that cannot start until it ends. */
const failedStart = async (datasets: object | string) => {
  const path = await fileOf({})
  await writeFile(path, typeof datasets === "string" ? datasets : JSON.stringify({ datasets }))
  const child = Bun.spawn([process.execPath, ...bunFlags, await serverBundle()], {
    env: {
      PATH: process.env["PATH"],
      PORT: "0",
      DATABASE_URL: staff.service.database,
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
  test("everything that does not fit the database", async () => {
    const known = "id, salary, name, tenant, at, day, constructor, dept"
    const mistakes = await failedStart({
      "hr.staff": {
        hidden: ["wage"],
        labels: { title: "Title" },
        where: { tenant: ["eq.x", "like.1*"], at: "gte.2024-13-01", day: "is.odd", name: "ge.x", salary: "lt.1e131071" },
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
      "hr.staff: where.tenant: cannot be filtered by like: its type integer has the operators",
      'hr.staff: where.name: has an unknown operator in "ge.x"',
      'hr.staff: where.salary: has a number of more than 400 digits, in "1e131071"',
      "hr.staff: where.at: must be of type timestamp with time zone: date/time field value out of range",
      'hr.staff: where.day: must be is.null or is.not_null, not "is.odd"',
      'hr.staff: orderBy: has the unknown column "age"',
      "hr.staff: parameters.total: every dataset has a parameter of that name",
      'hr.staff: parameters.least: must be of type integer: invalid input syntax for type integer: "one"',
      String.raw`hr.staff: parameters.odd: "\\-" is not a regular expression`,
      "hr.gone: does not exist, or EXPORT_DATASETS does not name it",
      "public.users: does not exist, or EXPORT_DATASETS does not name it"
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
    [
      "a text that is not Unicode",
      '{"datasets": {"hr.staff": {"comment": "\\ud800"}}}',
      [/hr\.staff\.comment: contains an unpaired surrogate/]
    ],
    ["that it is no JSON", "{", [/^the file is not JSON: /]]
  ])("%s", async (_, datasets, expected) => {
    const text = (await failedStart(datasets)).join("; ")
    for (const mistake of expected) expect(text).toMatch(mistake)
  })
})
