/** Every format as other programs read it: two parsers that know nothing of Sluice read files from HTTP. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type postgres from "postgres"
import { copyCsv, createExport, download, jsonPost, reaches, type ProblemDocument } from "../support/client.ts"
import { commonFields } from "../../src/exports/parameter-fields.ts"
import { profiles as allProfiles } from "../../src/formats/csv/csv-format.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { multiplyUsers, terminateSource } from "../support/source.ts"
import { createGoods, readByCsvParse, readByDuckdb, sourceValues, type Layout } from "./mixed-types.fixture.ts"

setDefaultTimeout(90_000)

/** What the name of a profile promises. */
const layouts: Readonly<Record<string, Layout>> = {
  postgres: { encoding: "utf-8", dialect: { delimiter: ",", newline: "lf" } },
  rfc4180: { encoding: "utf-8", dialect: { delimiter: ",", newline: "crlf" } },
  excel: { encoding: "utf-8", dialect: { delimiter: ",", newline: "crlf" } },
  "excel-utf16": { encoding: "utf-16le", dialect: { delimiter: "\t", newline: "crlf" } },
  tsv: { encoding: "utf-8", dialect: { delimiter: "\t", newline: "lf" } }
}
const profiles = Object.entries(layouts)

const setup = `
  create extension citext;
  create type mood as enum ('=sad', 'fine'); create domain title as text; create domain code as char(6);
  create table public.cells (
    n int, negative numeric, t text, v varchar(20), fixed char(6), code code, mood mood, title title, xml xml, ci citext, words text[]
  );
  insert into public.cells values
    (-1, -1.5, '=1+1', '+1', '=1', '@1', '=sad', '-x', '=1<a/>', '=c', '{=1,+1}'), (1, 1.5, ' =1', 'a=1', '  +1', 'a', 'fine', 'x', '<a/>', 'c', '{}'),
    (2, 0, '＝1', '', 'a', '', 'fine', '''x', 'x', '~', null);
  create table public.moments (n int, moment timestamptz, wall timestamp, day date, truth boolean, bytes bytea, value numeric, ratio float8);
  insert into public.moments values
    (1, '2024-10-27 00:30:00+00', '2024-10-27 00:30:00', '2024-10-27', true, '\\xfbef', 1234.5, 1e-7),
    (2, '2024-10-27 01:30:00.25+00', '2024-10-27 01:30:00.25', '2024-10-27', false, decode(repeat('00ff10', 40), 'hex'), -0.5, 2.5),
    (3, 'infinity', '-infinity', 'infinity', null, null, null, '-Infinity'),
    (4, '0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00 BC', '0044-03-15 BC', null, '', 'NaN', 'NaN');
  create table public.texts (id int, "E-mail" text, note text);
  insert into public.texts values (1, 'a@b', e'two\\nlines'), (2, '', null), (3, 'NULL', 'a,b'), (4, e'\\r\\n', '"');
  create table public.nothing (id int, note text)`

let database: string
let sql: postgres.Sql
let service: Service
let cursor: Service
beforeAll(async () => {
  database = await freshDatabase()
  await multiplyUsers(database, 4)
  sql = await connect(database, 1)
  await createGoods(sql)
  await sql.unsafe(setup)
  const env = { EXPORT_DATASETS: "public.*", RATE_LIMIT_MAX: "10000" }
  service = await startService({ ...env, DATABASE_URL: database, EXPORT_SOURCE: "copy" })
  // It has a database of its own, so that it does not take the jobs of the other service.
  cursor = await startService({ ...env, SOURCE_DATABASE_URL: database, EXPORT_SOURCE: "cursor" })
})
afterAll(async () => {
  for (const one of [service, cursor]) expect(await one.stop()).toBe(0)
})

/** Writes parameters as a query. */
const asked = (dataset: string, choices: Readonly<Record<string, string>> = {}) =>
  `?${String(new URLSearchParams({ dataset, ...choices }))}`

const stream = async (query: string, { url } = service): Promise<Buffer> => {
  const response = await fetch(`${url}/exports/csv${query}`)
  if (response.status !== 200) throw new Error(await response.text())
  return Buffer.from(await response.arrayBuffer())
}
const text = async (dataset: string, choices: Readonly<Record<string, string>>) => String(await stream(asked(dataset, choices)))

/** Returns what PostgreSQL writes for a value that a profile writes as `cell`: it undoes what the profile promises. */
const undo = (cell: string | null, type: string, profile: string): string | null => {
  if (cell === null || profile === "postgres" || profile === "tsv") return cell
  if (type === "boolean") return cell[0]!
  if (profile === "rfc4180") return type.startsWith("timestamp") ? cell.replace("T", " ").replace("+00:00", "+00") : cell
  if (type === "timestamp with time zone") return cell.replace(/\d(?= BC|$)/, "$&+00")
  return cell.replace(/^'/, "")
}

test("every profile and every option of a format is read by other programs here", () => {
  expect(Object.keys(layouts)).toEqual(Object.keys(allProfiles))
  const notOfFormat = new Set(["columns", "dataset", "order_by", "total", "limit", "encoding"])
  const options = Object.keys(commonFields({ columns: new Map() })).filter((name) => !notOfFormat.has(name))
  expect([...new Set(choices.flatMap((choice) => Object.keys(choice)))].toSorted()).toEqual(options.toSorted())
})

describe("other programs read the values of the source from a file of the profile", () => {
  test.each(profiles)("%s", async (profile, layout) => {
    const { columns, rows } = await sourceValues(sql, "public.goods")
    const file = await stream(asked("goods", { profile }))
    const [header, ...lines] = readByCsvParse(file, layout)
    expect(header).toEqual(columns.map(({ name }) => name))
    const values = lines.map((line) => line.map((cell, at) => undo(cell, columns[at]!.type, profile)))
    // NULL and an empty text are among them.
    expect(values).toEqual(rows)
    const names = columns.map(({ name }) => [name, "varchar"] as const)
    expect(await readByDuckdb(file, layout, names)).toEqual(lines)
  })

  test("rfc4180, with types", async () => {
    const columns = [
      "n int",
      "id bigint",
      "price decimal(12,2)",
      "coins decimal(38,18)",
      "ratio double",
      "truth boolean",
      "day date"
    ]
      .concat(["moment timestamptz", "wall timestamp", "note varchar", "key uuid"])
      .map((column) => column.split(" ") as [string, string])
    const names = columns.map(([name]) => name)
    const file = await stream(asked("goods", { profile: "rfc4180", columns: names.join(), n: "lt.100" }))
    const items = `n, id::text, price::text, coins::text, ratio, truth, day::text, epoch_us(moment)::text, epoch_us(wall)::text,
      note, key::text`
    const expected = await sql
      .unsafe(`select ${items.replaceAll(/epoch_us\((\w+)\)/g, "(extract(epoch from $1) * 1000000)::bigint")}
      from public.goods where n < 100`)
      .values()
    const rows = await readByDuckdb(file, layouts["rfc4180"]!, columns, items)
    expect(rows).toHaveLength(26)
    expect(rows).toEqual([...expected])
  })

  test.each([
    ["postgres", "text/csv; charset=utf-8; header=present", "csv"],
    ["rfc4180", "text/csv; charset=utf-8; header=present", "csv"],
    ["excel", "text/csv; charset=utf-8; header=present", "csv"],
    ["excel-utf16", "text/csv; charset=utf-16; header=present", "csv"],
    ["tsv", "text/tab-separated-values; charset=utf-8", "tsv"],
    ["none", "text/csv; charset=utf-8; header=absent", "csv"]
  ])("%s is the same as a job, and is named for what it is", async (profile, type, extension) => {
    const query = asked("goods", profile === "none" ? { header: "none" } : { profile })
    const id = await createExport(service, query)
    await reaches(service, id, "completed")
    expect((await download(service, id)).equals(await stream(query))).toBe(true)
    for (const [path, name] of [
      [`/exports/csv${query}`, "export"],
      [`/exports/${id}/download`, `goods-\\d{8}-${id.slice(0, 8)}`]
    ]) {
      const { headers } = await fetch(service.url + path, { method: "HEAD" })
      expect(headers.get("Content-Type")).toBe(type)
      expect(headers.get("Content-Disposition")).toMatch(new RegExp(`^attachment; filename="${name}\\.${extension}"$`))
    }
  })
})

/** Returns the lines of one column, without a header. */
const column = async (name: string, choices: Readonly<Record<string, string>> = {}, dataset = "moments") =>
  (await text(dataset, { columns: name, header: "none", ...choices })).split("\n").slice(0, -1)

describe("the option", () => {
  test("newline sets the line ends between rows, and leaves those in values", async () => {
    const lf = 'id,E-mail,note\n1,a@b,"two\nlines"\n2,"",\n3,NULL,"a,b"\n4,"\r\n",""""\n'
    expect(await text("texts", { newline: "lf" })).toBe(lf)
    const crlf = 'id,E-mail,note\r\n1,a@b,"two\nlines"\r\n2,"",\r\n3,NULL,"a,b"\r\n4,"\r\n",""""\r\n'
    expect(await text("texts", { newline: "crlf" })).toBe(crlf)
    expect(await text("texts", { newline: "lf", profile: "rfc4180" })).toBe(lf)
  })

  test("bom adds three bytes at the beginning, or two in UTF-16", async () => {
    const plain = await stream(asked("texts"))
    expect(await stream(asked("texts", { bom: "false" }))).toEqual(plain)
    expect(await stream(asked("texts", { bom: "true" }))).toEqual(Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), plain]))
    expect(await stream(asked("texts", { profile: "excel", bom: "false", newline: "lf", formulas: "keep" }))).toEqual(plain)
    expect(await stream(asked("nothing", { profile: "excel-utf16", columns: "id" }))).toEqual(
      Buffer.of(0xff, 0xfe, 0x69, 0, 0x64, 0, 0x0d, 0, 0x0a, 0)
    )
  })

  test("header=none leaves the rows alone, and nothing of an empty table", async () => {
    expect(await text("texts", { header: "none", columns: "id", total: "2" })).toBe("1\n2\n")
    expect(await text("nothing", {})).toBe("id,note\n")
    for (const [profile, bytes] of [
      ["postgres", 0],
      ["excel", 3],
      ["excel-utf16", 2]
    ] as const) {
      const query = asked("nothing", { header: "none", profile })
      expect(await stream(query)).toHaveLength(bytes)
      const id = await createExport(service, query)
      expect(await reaches(service, id, "completed")).toMatchObject({ bytes, progress: { totalRows: 0, percentage: 100 } })
      const response = await fetch(`${service.url}/exports/${id}/download`, { headers: { "Accept-Encoding": "identity" } })
      expect([response.status, response.headers.get("Content-Length")]).toEqual([200, String(bytes)])
      expect((await response.bytes()).length).toBe(bytes)
    }
  })

  test("columns takes labels for the header, in a query and in a body", async () => {
    const expected = 'id,"E-mail, or not",Note\n'
    expect(await text("nothing", { columns: 'id:id,note:"E-mail, or not"' })).toBe('id,"E-mail, or not"\n')
    expect(await text("nothing", { columns: "id,note:=1", profile: "excel" })).toBe("\ufeffid,'=1\r\n")
    expect(await text("nothing", { columns: "id,note:=1" })).toBe("id,=1\n")
    const columns = ["id", { name: "E-mail", label: "E-mail, or not" }, { name: "note", label: "Note" }]
    const body = { dataset: "texts", columns, total: 1 }
    const { exportId } = (await (await fetch(`${service.url}/exports`, jsonPost(body))).json()) as { exportId: string }
    await reaches(service, exportId, "completed")
    expect(String(await download(service, exportId))).toBe(`${expected}1,a@b,"two\nlines"\n`)
  })

  test("null sets the text for NULL, and a value equal to it is quoted", async () => {
    expect(await column("E-mail", { null: "NULL" }, "texts")).toEqual(["a@b", "", '"NULL"', '"\r', '"'])
    expect(await column("note", { null: "\\N", total: "2" }, "texts")).toEqual(['"two', 'lines"', "\\N"])
    // Readers that know the text for NULL can still distinguish an empty text from NULL.
    expect(await column("id", { null: "2" }, "texts")).toEqual(["1", '"2"', "3", "4"])
  })

  test("quote quotes all values but NULL, or all text", async () => {
    const columns = "n,moment,day,truth,bytes,value"
    const values = "2024-10-27 00:30:00+00|2024-10-27|t|\\xfbef|1234.5".split("|")
    const first = async (quote: string) => (await text("moments", { columns, quote })).split("\n").slice(0, 2)
    expect(await first("minimal")).toEqual([columns, ["1", ...values].join()])
    const quoted = columns.split(",").map((name) => `"${name}"`)
    expect(await first("all")).toEqual([quoted.join(), ["1", ...values].map((value) => `"${value}"`).join()])
    expect(await first("text")).toEqual([quoted.join(), ["1", ...values].join().replace("\\xfbef", '"\\xfbef"')])
    expect(await column("value", { quote: "all" })).toEqual(['"1234.5"', '"-0.5"', "", '"NaN"'])
    expect(await column("words", { quote: "text" }, "cells")).toEqual(['"{=1,+1}"', '"{}"', ""])
  })

  test("formulas=escape changes text alone, and leaves padding", async () => {
    const [header, ...lines] = (await text("cells", { formulas: "escape" })).split("\n").slice(0, -1)
    expect(header).toBe("n,negative,t,v,fixed,code,mood,title,xml,ci,words")
    expect(lines).toEqual([
      `-1,-1.5,'=1+1,'+1,'=1    ,'@1    ,'=sad,'-x,'=1<a/>,'=c,"{=1,+1}"`,
      `1,1.5,' =1,a=1,'  +1  ,a     ,fine,x,<a/>,c,{}`,
      `2,0,'＝1,"",a     ,      ,fine,'x,x,~,`
    ])
    const base64 = { binary: "base64", columns: "bytes", n: "1" }
    expect(await column("bytes", { ...base64, formulas: "escape" })).toEqual(["'++8="])
  })

  test("timezone and datetime write moments, also at the end of summer time, and values that ISO 8601 cannot write", async () => {
    const timezone = "Europe/Berlin"
    const bc = "0044-03-15 12:53:28+00:53:28 BC"
    const day = "2024-10-27"
    expect(await column("moment", { timezone })).toEqual([`${day} 02:30:00+02`, `${day} 02:30:00.25+01`, "infinity", bc])
    const iso = [`${day}T02:30:00+02:00`, `${day}T02:30:00.25+01:00`, "infinity", bc.replace(" ", "T")]
    expect(await column("moment", { timezone, datetime: "iso8601" })).toEqual(iso)
    const local = [`${day} 02:30:00`, `${day} 02:30:00.25`, "infinity", "0044-03-15 12:53:28 BC"]
    expect(await column("moment", { timezone, datetime: "local" })).toEqual(local)
    // Values without a time zone are the same in every zone.
    const wall = [`${day} 00:30:00`, `${day} 01:30:00.25`, "-infinity", "0044-03-15 12:00:00 BC"]
    for (const datetime of ["postgres", "local"]) expect(await column("wall", { timezone, datetime })).toEqual(wall)
    expect(await column("wall", { timezone, datetime: "iso8601" })).toEqual(wall.map((one) => one.replace(" ", "T")))
    expect(await column("day", { timezone, datetime: "iso8601" })).toEqual([day, day, "infinity", "0044-03-15 BC"])
  })

  test("boolean, binary and decimal change values of their types", async () => {
    for (const boolean of ["t/f", "true/false", "yes/no", "1/0"])
      expect(await column("truth", { boolean })).toEqual([...boolean.split("/"), "", ""])
    // RFC 4648 has no line ends in base64, which PostgreSQL writes after 76 characters.
    const long = Buffer.from("00ff10".repeat(40), "hex").toString("base64")
    expect(await column("bytes", { binary: "base64" })).toEqual(["++8=", long, "", '""'])
    expect(await column("value", { decimal: ",", delimiter: ";" })).toEqual(["1234,5", "-0,5", "", "NaN"])
    expect(await column("n,value,ratio", { decimal: ",", delimiter: ";", total: "2" })).toEqual(["1;1234,5;1e-07", "2;-0,5;2,5"])
    const german = await stream(
      asked("goods", { profile: "excel", decimal: ",", delimiter: ";", columns: "exact,price,coins", n: "3" })
    )
    expect(String(german)).toBe("\ufeffexact;price;coins\r\n'0,1234567890123456;-3,75;4,500000000000000000\r\n")
  })
})

const choices: ReadonlyArray<Readonly<Record<string, string>>> = [
  ...profiles.map(([profile]) => ({ profile })),
  { newline: "crlf" },
  { bom: "true" },
  { header: "none" },
  { header: "labels" },
  { null: "NULL" },
  { quote: "all" },
  { quote: "text" },
  { quoteChar: "'" },
  { formulas: "escape" },
  { formulas: "escape-all", binary: "base64" },
  { timezone: "Europe/Berlin" },
  { timezone: "America/Caracas", datetime: "iso8601" },
  { datetime: "local" },
  { boolean: "true/false" },
  { boolean: "yes/no" },
  { boolean: "1/0" },
  { binary: "base64" },
  { decimal: ",", delimiter: ";" },
  { profile: "excel", decimal: ",", delimiter: ";", timezone: "Asia/Kolkata" },
  { profile: "excel-utf16", quote: "all", null: "—", formulas: "keep" }
]

test("the second service reads by a cursor", async () => {
  const response = await fetch(`${cursor.url}/exports/estimate${asked("goods")}`, { method: "POST" })
  expect(await response.json()).toMatchObject({ plan: { source: "cursor" } })
})

test.each(choices)("%j is read by COPY, and a cursor gives the same bytes", async (choice) => {
  for (const dataset of ["goods", "cells", "moments"]) {
    const query = asked(dataset, choice)
    const response = await fetch(`${service.url}/exports/estimate${query}`, { method: "POST" })
    expect(await response.json()).toMatchObject({ dataset, plan: { source: "copy" } })
    expect((await stream(query, cursor)).equals(await stream(query))).toBe(true)
  }
})

test.each([
  [{ delimiter: "'", quoteChar: "'" }, "quoteChar", `must differ from the delimiter "'"`],
  [{ decimal: "," }, "decimal", 'must differ from the delimiter ","'],
  [{ decimal: ",", profile: "excel" }, "decimal", 'must differ from the delimiter ","'],
  [{ null: "a,b" }, "null", 'must not hold ",", which has another meaning'],
  [{ null: 'a"b' }, "null", String.raw`must not hold "\"", which has another meaning`],
  [{ null: "-", delimiter: "-" }, "null", 'must not hold "-", which has another meaning'],
  [{ bom: "false", profile: "excel-utf16" }, "bom", "must be true: UTF-16 needs it"],
  [{ delimiter: ";", profile: "excel-utf16" }, "delimiter", "must be a tab: Excel splits UTF-16 at nothing else"],
  [{ header: "names", columns: "n:N" }, "header", "must be labels where columns have some"],
  [{ header: "none", columns: "n:N" }, "header", "must be labels where columns have some"],
  [{ profile: "xlsx" }, "profile", 'must be one of postgres, rfc4180, excel, excel-utf16, tsv, not "xlsx"'],
  [{ timezone: "+02:00" }, "timezone", 'must be an IANA time zone such as Europe/Berlin, not "+02:00"']
] as const)("%j is refused, in a query and in a body", async (choice, field, detail) => {
  const post = jsonPost({ dataset: "goods", ...choice })
  for (const response of [fetch(`${service.url}/exports/csv${asked("goods", choice)}`), fetch(`${service.url}/exports`, post)]) {
    const { status, errors } = (await (await response).json()) as ProblemDocument
    expect([status, errors]).toEqual([400, [{ field, detail }]])
  }
})

const crlf = (csv: string) => csv.replaceAll("\n", "\r\n")

describe("a table of many parts", () => {
  const moments = /(,\d{4}-\d\d-\d\d) ([\d:.]+)\+00,/g
  test.each([
    [{ profile: "rfc4180" }, (csv: string) => Buffer.from(crlf(csv.replaceAll(moments, "$1T$2+00:00,")))],
    [
      { profile: "excel-utf16" },
      (csv: string) => Buffer.from(`\ufeff${crlf(csv.replaceAll(moments, "$1 $2,").replaceAll(",", "\t"))}`, "utf16le")
    ],
    // There is no summer time in that zone.
    [{ timezone: "Etc/GMT-14", datetime: "iso8601" }, undefined]
  ])("is as COPY has it, changed line by line: %j", async (choice, change) => {
    const shifted = `select id, name, email, to_json((signup_date at time zone 'UTC') + interval '14 h')#>>'{}' || '+14:00' as signup_date,
      country_code, subscription_tier, lifetime_value from public.users`
    const csv = await copyCsv(service, change ? "select * from public.users" : shifted)
    const expected = change?.(String(csv)) ?? csv
    const query = asked("users", choice)
    const id = await createExport(service, query)
    await reaches(service, id, "completed")
    expect((await download(service, id)).equals(expected)).toBe(true)
    expect((await stream(query)).equals(expected)).toBe(true)
    const log = service.log().map(({ message, annotations }) => [message, annotations["parts"]])
    expect(log.findLast(([message]) => message === "export planned")![1]).toBeGreaterThan(5)
    // A reader that is missing costs time alone, so nothing else would show it.
    expect(log.filter(([message]) => String(message).startsWith("a reader failed"))).toEqual([])
  })

  test("that is streamed in UTF-16 and breaks off ends with the error line in UTF-16", async () => {
    const request = `GET /exports/csv${asked("users", { profile: "excel-utf16", errorRow: "true" })} HTTP/1.1`
    let ended: Promise<void> | undefined
    const wire = await exchange(service.url, `${request}\r\nHost: localhost\r\nConnection: close\r\n\r\n`, (socket) => {
      socket.pause()
      ended ??= terminateSource(database)
      void ended.then(() => socket.resume())
    })
    const body = new TextDecoder("utf-16le", { fatal: true }).decode(chunkedBody(wire))
    expect(body).toStartWith("id\tname\t")
    expect(body).toMatch(/[^\n]\n"__ERROR__","internal_server_error"\n$/)
  })
})
