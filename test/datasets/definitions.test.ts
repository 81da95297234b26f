/** What `DATASETS_FILE` may say, and all that may be wrong with it, at once. */
import { describe, expect, test } from "bun:test"
import { JSONSchema } from "effect"
import { reservedParameters } from "../../src/exports/parameters.ts"
import { DatasetsFile, readDefinitions, refine, type Definition } from "../../src/datasets/definitions.ts"
import { usersDataset } from "../support/datasets.ts"

const mistakesOf = (file: unknown) => readDefinitions(typeof file === "string" ? file : JSON.stringify(file)).mistakes
const refined = (definition: Definition) => refine(usersDataset, definition, reservedParameters)

test("datasets.schema.json is the JSON Schema of DATASETS_FILE", async () => {
  const published: unknown = await Bun.file(`${import.meta.dir}/../../datasets.schema.json`).json()
  expect(published).toEqual(JSON.parse(JSON.stringify(JSONSchema.make(DatasetsFile))))
})

describe("DATASETS_FILE", () => {
  test("names relations as SQL does", () => {
    const { definitions, mistakes } = readDefinitions(
      '{"datasets": {"Sales.\\"Odd, Name\\"": {"name": "odd"}, "public.users": {}}}'
    )
    expect(mistakes).toEqual([])
    expect(definitions).toEqual([
      [{ schema: "sales", table: "Odd, Name" }, { name: "odd" }],
      [{ schema: "public", table: "users" }, {}]
    ])
  })

  test.each<[unknown, RegExp]>([
    ["{", /^the file is not JSON: /],
    [{}, /^datasets: is missing$/],
    [{ datasets: [] }, /^datasets: /],
    [{ datasets: { "public.users": { hide: ["id"] } } }, /^datasets\.public\.users\.hide: is unexpected/],
    [{ datasets: { "public.users": { maxRows: 0 } } }, /^datasets\.public\.users\.maxRows: /],
    [{ datasets: { "public.users": { hidden: "id" } } }, /^datasets\.public\.users\.hidden: /],
    [{ datasets: { users: {} } }, /^datasets\.users: is not a relation such as public\.orders/],
    [{ datasets: { "public.*": {} } }, /^datasets\.public\.\*: is not a relation/]
  ])("is refused: %j", (file, mistake) => {
    expect(mistakesOf(file)).toEqual([expect.stringMatching(mistake)])
  })

  test.each([
    ['{"name": "\\ud800"}', "name"],
    ['{"hidden": ["id", "a\\udc00"]}', "hidden.1"],
    ['{"where": {"id": ["gt.1", "eq.\\ud83d"]}}', "where.id.1"],
    ['{"labels": {"\\udead": "x"}}', "labels.\ufffd"]
  ])("is refused with an unpaired surrogate: %s", (definition, place) => {
    expect(mistakesOf(`{"datasets": {"public.users": ${definition}}}`)).toEqual([
      `datasets.public.users.${place}: contains an unpaired surrogate, which is not valid Unicode`
    ])
    expect(mistakesOf('{"datasets": {"public.users": {"name": "\\ud83d\\ude00"}}}')).toEqual([])
  })

  test("is refused with all its mistakes at once", () => {
    expect(
      mistakesOf({ datasets: { "public.users": { maxRows: "many", name: "" }, "public.orders": { labels: 1 } } })
    ).toHaveLength(3)
  })
})

describe("a definition", () => {
  test("hides columns and gives a name, labels, an order and a row limit", () => {
    const { dataset, mistakes } = refined({
      name: "people",
      comment: "Who they are",
      hidden: ["email", "id"],
      labels: { name: "Full name" },
      filterable: ["name"],
      orderBy: "-signup_date,name",
      maxRows: 10
    })
    expect(mistakes).toEqual([])
    expect(dataset).toMatchObject({
      name: "people",
      comment: "Who they are",
      key: [],
      maxRows: 10,
      order: [
        { column: "signup_date", descending: true },
        { column: "name", descending: false }
      ]
    })
    expect([...dataset.columns.values()].map(({ name, label, filterable }) => [name, label, filterable])).toEqual([
      ["name", "Full name", true],
      ["signup_date", "signup_date", false],
      ["country_code", "country_code", false],
      ["subscription_tier", "subscription_tier", false],
      ["lifetime_value", "lifetime_value", false]
    ])
  })

  test("can set conditions on hidden columns", () => {
    const { dataset, mistakes } = refined({ hidden: ["email"], where: { email: "not.is.null", id: ["gte.1", "lt.10"] } })
    expect(mistakes).toEqual([])
    expect(dataset.conditions.map(({ condition }) => condition)).toEqual([
      { column: "email", not: true, operator: "is", values: ["null"] },
      { column: "id", not: false, operator: "gte", values: ["1"] },
      { column: "id", not: false, operator: "lt", values: ["10"] }
    ])
  })

  test("drops the parameters of an earlier definition whose columns it hides", () => {
    expect(Object.keys(refined({ hidden: ["country_code"] }).dataset.parameters)).toEqual(["subscription_tier", "min_ltv"])
  })

  test("reports all its mistakes at once, with the columns that there are", () => {
    const known = "known are id, name, email, signup_date, country_code, subscription_tier, lifetime_value"
    const visible = known.replace("id, ", "")
    const { mistakes } = refined({
      hidden: ["id", "salary"],
      labels: { wage: "Wage" },
      filterable: ["pay"],
      where: { bonus: "is.null", name: "is.rich" },
      orderBy: "id",
      parameters: {
        least: { column: "id", operator: "gte" },
        total: { column: "name", operator: "eq" },
        odd: { column: "name", operator: "eq", pattern: "(" }
      }
    })
    expect(mistakes).toEqual([
      `hidden: there is no column "salary"; ${known}`,
      `labels: there is no column "wage"; ${known}`,
      `filterable: there is no column "pay"; ${known}`,
      `where: there is no column "bonus"; ${known}`,
      'where.name: must be is.null or is.not_null, not "is.rich"',
      `orderBy: has the unknown column "id"; ${visible}`,
      `parameters.least: there is no column "id"; ${visible}`,
      "parameters.total: every dataset has a parameter of that name",
      'parameters.odd: "(" is not a regular expression'
    ])
  })

  test("must leave at least one column", () => {
    expect(refined({ hidden: [...usersDataset.columns.keys()] }).mistakes).toContain("hidden: leaves no column")
  })
})
