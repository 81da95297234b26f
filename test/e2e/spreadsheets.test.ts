/** Spreadsheets have the values of an export, even those that look like something else to them. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { parse } from "csv-parse/sync"
import * as fc from "fast-check"
import type postgres from "postgres"
import { markText } from "../../src/formats/csv/spreadsheet-text.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { openInLibreOffice, soffice, type Cell } from "./libreoffice.ts"

setDefaultTimeout(90_000)

const numbers =
  `00123|1E5|1e-3|1.10|1.5|-00123|+1|+49 30 123|-1|1,000|1.000|1.234,56|50%|1.5 %|$5|$ 5|-$5|5 €|.5|5.|1 |  1|(5)|($5)|(1,500)|1-
  |1 1/2|0 1/2|1234567890123456|0.1234567890123456|TRUE|false|True |12E4567|1e400|0|123|123456789012345|20240131|00|1 000|1\u00a0000|1'000`
    .split(/\|/)
    .map((text) => text.replace(/\n +$/, ""))
const dates =
  `1-2|1/2|2024-01-31|31.12.2024|1.1.|2024-01-31 12:30|2024-01-31T12:30:15|12:30|12:30:15.25|1:|12 PM|1:30 PM|Mar 1|MARCH1|Jan 2024
  |jan-2024|DEC-1|May 5, 2024|Monday, January 1, 2024|Mon Jan 1 2024|1 Jan|5. Mai|1. März 2024|1-Jan-24|1/1/24 5:00`
    .split("|")
    .map((text) => text.trim())
const others =
  `=1+1| =1|@SUM(1)|＝1|'=1|'00123|''1-2|'t Hooft|plain|Ärger|日本|12 Main Street|A "quoted", text|two\nlines|#N/A|{1}|\\075||NULL`.split(
    "|"
  )

let sql: postgres.Sql
let service: Service
beforeAll(async () => {
  const database = await freshDatabase()
  sql = await connect(database, 1)
  await sql.unsafe(`
    create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create extension citext; create type size as enum ('00', '1-2', 'x');
    create table public.sheet (
      n int primary key, t text, fixed char(9), caseless text collate caseless, ci citext, size size, big bigint, exact numeric, ratio float8,
      truth boolean, day date, moment timestamptz, bytes bytea, key uuid, pair numrange, at int4multirange
    );
    create table public.random (n int primary key, t text, v varchar, fixed char(12), ci citext, caseless text collate caseless)`)
  await sql`
    insert into public.sheet
    select n, t, left(t, 9), t, t, (array['00', '1-2', 'x'])[1 + n % 3]::size,
      (array[0, 7, -999999999999999, 1000000000000000, 9223372036854775807])[1 + n % 5],
      (array[0, 1.50, -99999999999999.9, 0.1234567890123456, 12345678901234567890.123])[1 + n % 5],
      (array[0.1, -2.5, 1e300, 1e-7])[1 + n % 4], n % 2 = 0, date '2024-02-25' + n::int, timestamptz '2024-02-28 23:59:59+00' + n * interval '1 hour',
      case n % 3 when 0 then decode('d35d34', 'hex') when 1 then decode('d44e79', 'hex') else sha256(n::text::bytea) end, md5(n::text)::uuid,
      numrange(n, 1500, '()'), int4multirange(int4range(n::int, 2000))
    from unnest(${[...numbers, ...dates, ...others]}::text[]) with ordinality as texts (t, n)`
  service = await startService({ DATABASE_URL: database, EXPORT_DATASETS: "public.*", RATE_LIMIT_MAX: "10000" })
})
afterAll(async () => {
  expect(await service.stop()).toBe(0)
})

const stream = async (dataset: string, choices: Readonly<Record<string, string>>) => {
  const response = await fetch(
    `${service.url}/exports/csv?${String(new URLSearchParams({ dataset, order_by: "n", ...choices }))}`
  )
  if (response.status !== 200) throw new Error(await response.text())
  return Buffer.from(await response.arrayBuffer())
}

const unit = fc.constantFrom(...Array.from("0011239.,'  eE+-%$/:=@()#!\u00a0\u202f\u0663１\t\nTruamMä—\u{1f600}"))
const texts = fc.oneof(fc.string({ unit, maxLength: 12 }), fc.string({ unit: "grapheme", maxLength: 12 }))
const random = fc.sample(texts, 1_500).map((text) => text.replaceAll("\0", ""))

test.each([
  ["excel", "escape"],
  ["excel", "escape-all"],
  ["postgres", "escape"],
  ["postgres", "escape-all"]
] as const)("random text of every type is marked by one rule: profile=%s, formulas=%s", async (profile, formulas) => {
  await sql`truncate public.random`
  await sql`
    insert into public.random
    select n, t, t, left(t, 12), t, t from json_array_elements_text(${JSON.stringify(random)}::text::json) with ordinality as one (t, n)`
  const rows = await sql.unsafe("select t, v, concat(fixed) as fixed, ci, caseless from public.random order by n").values()
  const file = await stream("random", {
    profile,
    columns: "t,v,fixed,ci,caseless",
    header: "none",
    formulas
  })
  const marks = { formulas, longNumbers: profile === "excel" ? "text" : "keep" } as const
  const cells = parse(file, { bom: true, record_delimiter: profile === "excel" ? "\r\n" : "\n" })
  expect(cells).toEqual(rows.map((row) => row.map((value) => markText(value as string, marks))))
})

test("labels and the text for NULL are escaped by the same rule", async () => {
  const columns = "n:00123,t:1-2,v:Total"
  const first = async (choices: Readonly<Record<string, string>>) =>
    String(await stream("random", { columns, profile: "excel", n: "-1", ...choices }))
  expect(await first({})).toBe("\ufeff'00123,1-2,Total\r\n")
  expect(await first({ formulas: "escape-all" })).toBe("\ufeff'00123,'1-2,Total\r\n")
  expect(await first({ formulas: "keep" })).toBe("\ufeff00123,1-2,Total\r\n")
  await sql`insert into public.random (n, t, v) values (-1, '''00', null)`
  // A value that equals the text for NULL is quoted, as always.
  expect(await first({ header: "none", columns: "n,t,v", null: "00" })).toBe(`\ufeff-1,''00,'00\r\n`)
  expect(await first({ header: "none", columns: "n,t,v", null: "=1" })).toBe(`\ufeff-1,''00,'=1\r\n`)
  expect(await first({ header: "none", columns: "n,t,v", null: "N/A" })).toBe(`\ufeff-1,''00,N/A\r\n`)
})

if (!soffice) console.log("LibreOffice (soffice) is not installed: its tests are skipped")

const textColumns = "t, fixed, caseless, ci, size, bytes, key, pair, at"
const otherColumns = "big, exact, ratio, truth, day, moment"
const columns = `${textColumns}, ${otherColumns}`.split(", ")

/** Says whether text is a string in the cell, unless it is a number that is written as it is. */
const showsText = ({ type = "string", value }: Cell, text: string): boolean =>
  /^(0|[1-9]\d{0,14})$/.test(text) ? type === "float" && value === text : type === "string" && [text, `'${text}`].includes(value)

/** Says whether another value is as in the file. A number of more than 15 digits is text there, or was rounded. */
const shows = ({ type, value }: Cell, text: string): boolean => {
  if (type === "float") return Number(value).toPrecision(15) === Number(text).toPrecision(15)
  return (type === "date" ? value.replace("T", " ") : value) === text && ["string", "date", "boolean"].includes(type ?? "")
}

interface Reading {
  readonly delimiter: string
  /** Selects the rows to compare, by their text. */
  readonly rows?: (text: string) => boolean
  readonly names?: ReadonlyArray<string>
}

/** Returns the cells of an opened file that differ from the source. */
const differences = async (
  file: Buffer,
  sheet: ReadonlyArray<ReadonlyArray<Cell>>,
  { delimiter, rows = () => true, names = columns }: Reading
) => {
  const bytes = "translate(encode(bytes, 'base64'), chr(10), '')"
  const sources = await sql
    .unsafe(`
    select t, concat(fixed), caseless, ci, size, ${bytes}, key, pair::text, at::text from public.sheet order by n`)
    .values()
  expect(sheet.slice(1)).toHaveLength(sources.length)
  const text = new TextDecoder(file[0] === 0xff ? "utf-16le" : "utf-8").decode(file)
  const written = parse(text, { delimiter, record_delimiter: text.includes("\r\n") ? "\r\n" : "\n" })
  return sources.flatMap((values, row) =>
    names.flatMap((name, at) => {
      const cell = sheet[row + 1]![at] ?? { type: undefined, value: "", formula: false }
      const value = String(values[at] ?? written[row + 1]![at])
      const same = !cell.formula && (at < values.length ? showsText(cell, value) : shows(cell, value))
      return same || !rows(String(values[0])) ? [] : [{ name, value, cell }]
    })
  )
}

describe.skipIf(!soffice)("in LibreOffice", () => {
  const asked = { columns: columns.join(), binary: "base64" }

  test("a file of every profile has the values of the source with formulas=escape-all", async () => {
    const layouts = [
      [["postgres", "rfc4180", "excel"], ",", "utf-8"],
      [["tsv"], "\t", "utf-8"],
      [["excel-utf16"], "\t", "utf-16le"]
    ] as const
    for (const [profiles, delimiter, encoding] of layouts) {
      const files = await Promise.all(profiles.map((profile) => stream("sheet", { ...asked, profile, formulas: "escape-all" })))
      const sheets = await openInLibreOffice(files, { delimiter, encoding })
      for (const [at, file] of files.entries()) expect(await differences(file, sheets[at]!, { delimiter })).toEqual([])
    }
  })

  test.each([
    ["excel", ",", "utf-8"],
    ["excel-utf16", "\t", "utf-16le"]
  ] as const)("%s has them by itself, but for what may be a date", async (profile, delimiter, encoding) => {
    const file = await stream("sheet", { ...asked, profile })
    const [sheet] = await openInLibreOffice([file], { delimiter, encoding })
    expect(await differences(file, sheet!, { delimiter, rows: (text) => !dates.includes(text) })).toEqual([])
  })

  test("text is unchanged where the decimal separator is a comma", async () => {
    const choices = { columns: textColumns.replaceAll(" ", ""), binary: "base64", profile: "excel", formulas: "escape-all" }
    const file = await stream("sheet", { ...choices, delimiter: ";", decimal: "," })
    const [sheet] = await openInLibreOffice([file], { delimiter: ";", encoding: "utf-8", locale: "de-DE" })
    expect(await differences(file, sheet!, { delimiter: ";", names: textColumns.split(", ") })).toEqual([])
  })

  test("text that is exported with formulas=keep is changed", async () => {
    const file = await stream("sheet", { ...asked, profile: "excel", formulas: "keep" })
    const [sheet] = await openInLibreOffice([file], { delimiter: ",", encoding: "utf-8" })
    const changed = await differences(file, sheet!, { delimiter: ",", names: ["t"] })
    expect(changed.length).toBeGreaterThan(50)
    expect(changed).toContainEqual({ name: "t", value: "00123", cell: { type: "float", value: "123", formula: false } })
    expect(changed).toContainEqual({ name: "t", value: "=1+1", cell: { type: "float", value: "2", formula: true } })
  })
})
