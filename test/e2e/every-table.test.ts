/** Everything in PostgreSQL is exported as COPY writes it: every table of its catalog, every type, every name. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { parse } from "csv-parse/sync"
import type postgres from "postgres"
import { copyCsv, createExport, download, jsonPost, reaches } from "../support/client.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { createEveryType, identifier, literal } from "./every-type.fixture.ts"

/** Of the catalog every fourth table is exported, or all of them. */
const ALL_TABLES = process.env["CATALOG"] === "full"
setDefaultTimeout(60_000)

/** Names that have another meaning in SQL, CSV, URLs or JSON unless they are quoted. */
const oddNames = ["Mixed Case", 'quo"ted', '"', '""', "'", "a,b", ",", "a:b", ":", "line\nfeed", "\r\n", "\t", "\u0001"]
  .concat(["-a", "--b", "-", " space ", "select", "NULL", "a.b", "a/b", "100%", "%41", "a+b&c=d", "#", "?", "\\", "\\."])
  .concat(["😀", "é".repeat(31), "😀".repeat(15), "x".repeat(63), "\u202Ertl", "e\u0301", "$1", "*", "(", "{}", "@a"])
  .concat(["dataset", "columns", "where", "total", "apiKey", "value", "exported", "__proto__", "constructor", "=1+1", "1"])
/** The most columns of a table in PostgreSQL. */
const MOST_COLUMNS = 1600
const wideNames = [...oddNames, ...Array.from({ length: MOST_COLUMNS - oddNames.length }, (_, n) => `Nr. ${n}`)]
const wideSchema = 'W "i", d:e\n😀'
const wideTable = `-T${"é".repeat(30)}"`
const wide = { dataset: `${wideSchema}.${wideTable}`, sql: `${identifier(wideSchema)}.${identifier(wideTable)}` }
const typed = ["odd.plain", "odd.arrays", "odd.made"]

let services: ReadonlyArray<Service>
let database: string
let sql: postgres.Sql
let typesWithoutValue: ReadonlyArray<string>

const createOddNames = async () => {
  await sql.unsafe(`create schema ${identifier(wideSchema)}; create schema named`)
  const columns = wideNames.map((name, at) => `${identifier(name)} ${at < oddNames.length ? "text" : "smallint"}`)
  const cells = wideNames.map((name, at) =>
    at < oddNames.length ? `nullif(left(${literal(name)}, n), 'a')` : `nullif(n * ${at} % 50, 7)`
  )
  await sql.unsafe(`create table ${wide.sql} (${columns.join()})`)
  await sql.unsafe(`insert into ${wide.sql} select ${cells.join()} from generate_series(0, 99) n`)
  for (const name of oddNames) {
    const table = `named.${identifier(name)}`
    await sql.unsafe(`create table ${table} (${identifier(name)} text); insert into ${table} values (null), (${literal(name)})`)
  }
}

beforeAll(async () => {
  database = await freshDatabase()
  sql = await connect(database, 4)
  typesWithoutValue = await createEveryType(sql)
  await createOddNames()
  const EXPORT_DATASETS = `pg_catalog.*,information_schema.*,odd.*,named.*,${wide.sql}`
  const env = { EXPORT_DATASETS, SOURCE_DATABASE_URL: database, RATE_LIMIT_MAX: "10000" }
  // Each service has a database of its own, since two services on one database take each other's jobs.
  services = await Promise.all(["copy", "cursor"].map((EXPORT_SOURCE) => startService({ ...env, EXPORT_SOURCE })))
})
afterAll(async () => {
  for (const service of services) expect(await service.stop()).toBe(0)
})

const copy = (query: string) => copyCsv({ ...services[0]!, database }, query)

const streamed = async ({ url }: Service, parameters: Readonly<Record<string, string>>) => {
  const response = await fetch(`${url}/exports/csv?${new URLSearchParams(parameters).toString()}`)
  return { status: response.status, file: Buffer.from(await response.arrayBuffer()) }
}

const json = async <A>({ url }: Service, path: string) => (await (await fetch(url + path)).json()) as A

const post = ({ url }: Service, path: string, body: object) => fetch(url + path, jsonPost(body))

const estimated = async (service: Service, body: object) => {
  const response = await post(service, "/exports/estimate", body)
  return `${response.status} ${response.status === 200 ? "OK" : await response.text()}`
}

const exported = async (service: Service, id: string) => {
  await reaches(service, id, "completed")
  return download(service, id)
}

/** Runs `work` for each item, a few at once. */
const forEach = async <A>(items: ReadonlyArray<A>, work: (item: A, index: number) => Promise<void>) => {
  const left = items.entries()
  const worker = async () => {
    for (const [index, item] of left) await work(item, index)
  }
  await Promise.all(Array.from({ length: 4 }, worker))
}

/** Returns the place where two files differ, since nobody reads a megabyte beside a megabyte. */
const difference = (file: Buffer, expected: Buffer) => {
  if (file.equals(expected)) return undefined
  const found = file.findIndex((byte, index) => byte !== expected[index])
  const at = found === -1 ? file.length : found
  const around = (bytes: Buffer) => String(bytes.subarray(Math.max(0, at - 40), at + 40))
  return { at, file: around(file), expected: around(expected) }
}

/** Runs COPY in a session with an open transaction, for which views of sessions, locks and counters show other rows. */
const copyElsewhere = async (query: string): Promise<Buffer> => {
  const busy = await connect(database, 1)
  await busy.unsafe(`
    set timezone = 'UTC'; set datestyle = 'ISO'; set application_name = 'elsewhere'; set work_mem = '3MB'; set lock_timeout = '7s';
    begin; lock table users in share mode; select pg_advisory_lock_shared(42); prepare something as select 1;
    declare somewhere cursor for select * from users; fetch somewhere; select count(*) from users where id < 100`)
  const chunks: Array<Uint8Array> = []
  const rows = await busy.unsafe(`copy (${query}) to stdout (format csv, header true)`).readable()
  for await (const chunk of rows) chunks.push(chunk)
  await busy.end({ timeout: 1 })
  return Buffer.concat(chunks)
}

/** Views of counters, which sessions update at any moment between two reads. */
const isCounters = (name: string) => /^pg_catalog\.pg_stat(io)?_/.test(name)

/**
 * The outcome for a relation with both services: `equal` to COPY; `other` in each session, and complete; `unreadable` for
 * anybody; or `wrong`.
 */
const outcomeOf = async (name: string, query: string): Promise<"equal" | "other" | "unreadable" | "wrong"> => {
  // Autovacuum may change a table of the catalog meanwhile.
  for (let attempt = 0; attempt < 3; attempt++) {
    const answers = await Promise.all(services.map((service) => streamed(service, { dataset: name })))
    if (answers.some(({ status }) => status !== 200)) {
      const isReadable = await sql.unsafe(query).then(
        () => true,
        () => false
      )
      return isReadable || answers.some(({ status }) => status !== 503) ? "wrong" : "unreadable"
    }
    const expected = await copy(query)
    const others = answers.filter(({ file }) => !file.equals(expected))
    if (others.length === 0) return "equal"
    if (!isCounters(name) && (await copyElsewhere(query)).equals(expected)) continue
    const [header] = parse(expected)
    // The parser refuses rows with another number of columns.
    return others.every(({ file }) => Bun.deepEquals(parse(file)[0], header)) ? "other" : "wrong"
  }
  return "wrong"
}

describe("the catalog", () => {
  test("is exported as COPY writes it, from its first table to its last view", async () => {
    const relations = await sql<ReadonlyArray<{ name: string; query: string }>>`
      select n.nspname || '.' || c.relname as name, format('select * from %I.%I', n.nspname, c.relname) as query
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') and has_table_privilege(c.oid, 'select')
      order by 1`
    for (const service of services) {
      const { datasets } = await json<{ datasets: ReadonlyArray<{ name: string }> }>(service, "/datasets")
      const names = datasets.map(({ name }) => name).filter((name) => /^(pg_catalog|information_schema)\./.test(name))
      expect(names).toEqual(relations.map(({ name }) => name))
    }
    const chosen = relations.filter(({ name }, at) => ALL_TABLES || at % 4 === 0 || name === "pg_catalog.pg_locks")
    const outcomes: Record<string, Array<string>> = {}
    await forEach(chosen, async ({ name, query }) => {
      const outcome = await outcomeOf(name, query)
      outcomes[outcome] = [...(outcomes[outcome] ?? []), name]
    })
    expect(outcomes["wrong"]).toBeUndefined()
    expect(outcomes["equal"]!.length).toBeGreaterThan(ALL_TABLES ? 170 : 40)
    expect(outcomes["other"]!.every((name) => name.startsWith("pg_catalog."))).toBe(true)
    // These show the session that reads them, or the memory of a kind of machine that few have.
    expect(outcomes["other"]).toContain("pg_catalog.pg_locks")
    expect([[], ["pg_catalog.pg_shmem_allocations_numa"]]).toContainEqual(outcomes["unreadable"] ?? [])
  })
})

/** The number of filters in a request is limited. */
const inHundreds = <A>(items: ReadonlyArray<A>) =>
  Array.from({ length: Math.ceil(items.length / 100) }, (_, at) => items.slice(at * 100, at * 100 + 100))

describe("every type", () => {
  test("has a value in these tests, unless nobody can write or read one", () => {
    expect(typesWithoutValue).toEqual(["gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"])
  })

  test.each(typed)("is exported as COPY writes it, as a job and as a stream: %s", async (name) => {
    const expected = await copy(`select * from ${name}`)
    for (const service of services) {
      expect(difference((await streamed(service, { dataset: name })).file, expected)).toBeUndefined()
      expect(difference(await exported(service, await createExport(service, `?dataset=${name}`)), expected)).toBeUndefined()
    }
  })

  interface ColumnDocument {
    readonly dataset: string
    readonly name: string
    readonly operators: ReadonlyArray<string>
  }
  /** The columns of every type, those that only tables of the catalog may have too, and whether they can be compared. */
  const columnsThat = async (compare: boolean) => {
    const found: Array<ColumnDocument> = []
    for (const dataset of [...typed, "pg_catalog.pg_stats", "pg_catalog.pg_statistic_ext_data"]) {
      const { columns } = await json<{ columns: ReadonlyArray<ColumnDocument> }>(services[0]!, `/datasets/${dataset}`)
      found.push(...columns.map((column) => ({ ...column, dataset })))
    }
    return found.filter(({ operators }) => operators.includes("eq") === compare)
  }
  /** The same filter on all columns of each dataset. */
  const onAll = (columns: ReadonlyArray<ColumnDocument>, filter: (column: ColumnDocument) => string | ReadonlyArray<string>) =>
    [...Map.groupBy(columns, ({ dataset }) => dataset)].map(([dataset, all]) => ({
      dataset,
      where: Object.fromEntries(all.map((column) => [column.name, filter(column)])),
      order_by: all.map(({ name }) => identifier(name)).join()
    }))

  test("can be filtered and sorted by if its description says so", async () => {
    const comparable = await columnsThat(true)
    expect(comparable.length).toBeGreaterThan(130)
    const firsts = new Map<ColumnDocument, string>()
    await forEach(comparable, async (one, index) => {
      const column = identifier(one.name)
      const short = `select ${column}::text as value from ${one.dataset} where length(${column}::text) < 500`
      const values = (await sql.unsafe<Array<{ value: string }>>(`${short} limit 20`)).map(({ value }) => value)
      if (values.length === 0) return
      firsts.set(one, values[0]!)
      const list = values.map((value) => `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join()
      const parameters = { dataset: one.dataset, columns: column, [one.name]: `in.(${list})`, order_by: column }
      const { file } = await streamed(services[index % 2]!, parameters)
      const among = `${column}::text in (${values.map(literal).join()})`
      const expected = await copy(`select ${column} from ${one.dataset} where ${among} order by 1`)
      expect({ ...one, difference: difference(file, expected) }).toEqual({ ...one, difference: undefined })
    })
    expect(firsts.size).toBeGreaterThan(120)
  })

  const all =
    "eq,neq,gt,gte,lt,lte,in,isdistinct,like,ilike,match,imatch,fts,plfts,phfts,wfts,cs,cd,ov,sl,sr,nxl,nxr,adj,is".split(",")
  test("accepts the operators that its description names, and no others", async () => {
    const columns = [...(await columnsThat(true)), ...(await columnsThat(false))]
    const outcomes = new Map<string, number>()
    for (const [dataset, own] of Map.groupBy(columns, (column) => column.dataset)) {
      const names = own.map(({ name }) => identifier(name))
      const shortest = names.map(
        (name) => `(array_agg(${name}::text order by length(${name}::text)) filter (where ${name} is not null))[1]`
      )
      const row = dataset.startsWith("odd.") ? (await sql.unsafe(`select ${shortest.join()} from ${dataset}`).values())[0]! : []
      const filters = own.flatMap(({ name, operators }, at) => {
        // A request may not have a number of more than 400 digits.
        const value = name.startsWith("numeric(1000") ? "1" : ((row[at] as string | null | undefined) ?? undefined)
        const isArray = operators.includes("ov") && !operators.includes("sl")
        const list = `eq(any).{"${value?.replaceAll(/["\\]/g, String.raw`\$&`)}"}`
        const listed = operators.includes("eq") && !isArray && value !== undefined ? [{ name, isKnown: true, filter: list }] : []
        const plain = all.flatMap((operator) => {
          const isKnown = operators.includes(operator)
          if (isKnown && value === undefined && !["is", "like", "match"].includes(operator)) return []
          const texts: Record<string, string> = {
            is: "null",
            in: `("${(isKnown ? (value ?? "") : "a").replaceAll(/["\\]/g, String.raw`\$&`)}")`
          }
          const isText = !isKnown || /like|match|fts/.test(operator)
          return [{ name, isKnown, filter: `${operator}.${texts[operator] ?? (isText || value === undefined ? "a" : value)}` }]
        })
        return [...plain, ...listed]
      })
      for (const { isKnown, ones } of [true, false].flatMap((known) =>
        inHundreds(filters.filter((one) => one.isKnown === known)).map((some) => ({ isKnown: known, ones: some }))
      )) {
        const byName = Map.groupBy(ones, ({ name }) => name)
        const where = Object.fromEntries([...byName].map(([name, some]) => [name, some.map(({ filter }) => filter)]))
        const response = await post(services[0]!, "/exports/estimate", { dataset, where })
        const { errors = [] } = (await response.json()) as { errors?: ReadonlyArray<{ field: string; detail: string }> }
        const refused = errors.reduce((sum, { detail }) => sum + detail.split("cannot be filtered by").length - 1, 0)
        expect([dataset, response.status, refused, isKnown ? errors : []]).toEqual([
          dataset,
          isKnown ? 200 : 400,
          isKnown ? 0 : ones.length,
          []
        ])
        for (const { filter } of ones) {
          const operator = `${isKnown} ${filter.slice(0, filter.indexOf("."))}`
          outcomes.set(operator, (outcomes.get(operator) ?? 0) + 1)
        }
      }
    }
    for (const operator of all) expect([operator, (outcomes.get(`true ${operator}`) ?? 0) > 5]).toEqual([operator, true])
  })

  test("is refused as a filter and an order if its description does not allow them", async () => {
    const others = await columnsThat(false)
    expect(others.length).toBeGreaterThan(200)
    await forEach(others, async ({ dataset, name }) => {
      for (const wrong of [{ where: { [name]: "eq.a" } }, { order_by: identifier(name) }])
        expect(await estimated(services[0]!, { dataset, ...wrong })).toStartWith("400 ")
    })
  })

  test.each(["a b", "(", "no.such", "{{{{{{{1", "1e999999"])(
    "is a 400 for a filter with the value %s on many types at once",
    async (value) => {
      for (const some of inHundreds(await columnsThat(true)))
        for (const body of onAll(some, () => `eq.${value}`)) expect(await estimated(services[0]!, body)).toStartWith("400 ")
    }
  )

  test.each([
    ["jsonb", "[".repeat(60_000)],
    ["tsvector", "x".repeat(3_000)],
    ["tsquery", "x".repeat(3_000)]
  ])("has limits, which are the request's fault: %s", async (name, value) => {
    const answer = await estimated(services[0]!, { dataset: "odd.plain", where: { [name]: `eq.${value}` } })
    expect(answer).toStartWith("400 ")
  })
})

/** Writes a name as a query must have it. */
const written = (name: string) => (/[,:"]/.test(name) ? identifier(name) : name)

describe("every name", () => {
  const reversed = wideNames.toReversed()
  const selected = `select ${oddNames.map(identifier).join()} from ${wide.sql}`

  test("can be the name of a table and of its column", async () => {
    await forEach(oddNames, async (name) => {
      const expected = await copy(`select * from named.${identifier(name)} order by 1`)
      for (const service of services) {
        const described = await json(service, `/datasets/${encodeURIComponent(`named.${name}`)}`)
        expect(described).toMatchObject({ name: `named.${name}`, columns: [{ name }] })
        const parameters = { dataset: `named.${name}`, columns: identifier(name), order_by: identifier(name) }
        expect(String((await streamed(service, parameters)).file)).toBe(String(expected))
      }
    })
  })

  test("can be one of 1,600 columns", async () => {
    const expected = await copy(`select * from ${wide.sql}`)
    const dataset = encodeURIComponent(wide.dataset)
    for (const service of services) {
      const { columns } = await json<{ columns: ReadonlyArray<{ name: string }> }>(service, `/datasets/${dataset}`)
      expect(columns.map(({ name }) => name)).toEqual(wideNames)
      expect(difference((await streamed(service, { dataset: wide.dataset })).file, expected)).toBeUndefined()
      expect(difference(await exported(service, await createExport(service, `?dataset=${dataset}`)), expected)).toBeUndefined()
    }
  })

  test.each([
    ["always", identifier],
    ["where it must be", written]
  ])("is asked for in a query, in quotes %s", async (_, write) => {
    const expected = await copy(selected)
    for (const service of services) {
      const { file } = await streamed(service, { dataset: wide.dataset, columns: oddNames.map(write).join() })
      expect(difference(file, expected)).toBeUndefined()
    }
  })

  test.each([
    ["as a query has it", oddNames.map(written), selected],
    ["as an object", oddNames.map((name) => ({ name })), selected],
    ["all in reverse", reversed.map(written), `select ${reversed.map(identifier).join()} from ${wide.sql}`]
  ])("is asked for in a body: %s", async (_, columns, query) => {
    const expected = await copy(query)
    for (const service of services) {
      const response = await post(service, "/exports/csv", { dataset: wide.dataset, columns })
      const { exportId } = (await response.json()) as { exportId: string }
      expect(difference(await exported(service, exportId), expected)).toBeUndefined()
    }
  })

  test("can be given a label, filtered by and sorted by", async () => {
    const body = {
      dataset: wide.dataset,
      columns: oddNames.map((name) => ({ name, label: `${name}!` })),
      where: Object.fromEntries(oddNames.map((name) => [name, `eq.${name}`])),
      order_by: oddNames.map((name) => `-${identifier(name)}`)
    }
    const conditions = oddNames.map((name) => `${identifier(name)} = ${literal(name)}`)
    const expected = await copy(`${selected} where ${conditions.join(" and ")}`)
    for (const service of services) {
      const { exportId } = (await (await post(service, "/exports/csv", body)).json()) as { exportId: string }
      const file = parse(await exported(service, exportId))
      expect(file[0]).toEqual(oddNames.map((name) => `${name}!`))
      expect(file.slice(1)).toEqual(parse(expected).slice(1))
      expect(file.length).toBeGreaterThan(30)
    }
  })
})
