/**
 * What clients see when something that the service needs refuses it or fails: a sentence that says what is wrong, without
 * any role, address, database, path or file of the service. The log has all of those.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdir, rm, writeFile } from "node:fs/promises"
import net from "node:net"
import type postgres from "postgres"
import { createExport, reaches } from "../support/client.ts"
import { shortLimits } from "../support/limits.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(60_000)

const ROLE = "internals_reader"
let admin: postgres.Sql
let database: string
let service: Service
/** A relay between the service and its source. */
let relay: net.Server
let hbaFile: string
let hbaLines: string

const relayTo = (target: URL) =>
  net.createServer((client) => {
    const server = net.connect(Number(target.port), target.hostname)
    client.on("error", () => {}).pipe(server)
    server.on("error", () => {}).pipe(client)
  })
const listen = (port: number) =>
  new Promise<number>((resolve) => relay.listen(port, "127.0.0.1", () => resolve((relay.address() as net.AddressInfo).port)))

beforeAll(async () => {
  const source = new URL(await freshDatabase())
  database = source.pathname.slice(1)
  const own = await freshDatabase()
  admin = await connect(own, 1)
  await admin.unsafe(`drop role if exists ${ROLE}; create role ${ROLE} login password 'right'`)
  const sql = await connect(source.href, 1)
  await sql.unsafe(`grant select on public.users to ${ROLE}`)
  // A database with a session cannot be renamed.
  await sql.end()
  hbaFile = (await admin`show hba_file`)[0]!["hba_file"]
  hbaLines = (await admin`select pg_read_file(${hbaFile}) as lines`)[0]!["lines"]
  relay = relayTo(source)
  const port = String(await listen(0))
  const url = Object.assign(new URL(source), { username: ROLE, password: "right", port }).href
  const settings = { DATABASE_URL: own, SOURCE_DATABASE_URL: url, RATE_LIMIT_MAX: "1000", SOURCE_OUTAGE: "1 second" }
  service = await startService(settings, { limits: shortLimits })
})
afterAll(async () => {
  await service.stop()
  relay.close()
})

/** What a problem document must not contain. */
const internals = () => {
  const { hostname, port } = relayAddress
  return [hostname, port, ROLE, database, "pg_hba", service.storage, "/tmp/", "sluice.exports", "select ", '"sluice', "(SQLSTATE"]
}
const relayAddress = { hostname: "127.0.0.1", port: "" }

interface Cause {
  readonly begin: () => Promise<unknown>
  readonly end: () => Promise<unknown>
  /** A part of the sentence. */
  readonly sentence: string
  /** A part of the line in the log. */
  readonly logged: RegExp
  /** Whether an export with a filter is stored meanwhile, and waits. */
  readonly isOutage?: true
}

const writeHba = async (lines: string) => {
  await admin.unsafe(`copy (select unnest(string_to_array($hba$${lines}$hba$, E'\\n'))) to program 'cat > ${hbaFile}'`)
  await admin`select pg_reload_conf()`
}

const causes: Readonly<Record<string, Cause>> = {
  "a wrong password": {
    begin: () => admin.unsafe(`alter role ${ROLE} password 'other'`),
    end: () => admin.unsafe(`alter role ${ROLE} password 'right'`),
    sentence: "The source database refused the service's login",
    logged: /28P01: password authentication failed for user "internals_reader"/
  },
  "a line of pg_hba.conf that rejects the role": {
    begin: () => writeHba(`host all ${ROLE} all reject\n${hbaLines}`),
    end: () => writeHba(hbaLines),
    sentence: "The source database refused the service's login",
    logged: /28000: pg_hba.conf rejects connection for host "127.0.0.1", user "internals_reader"/
  },
  "a revoked privilege to connect": {
    begin: () => admin.unsafe(`revoke connect on database ${database} from public`),
    end: () => admin.unsafe(`grant connect on database ${database} to public`),
    sentence: "The source database refused the service's login",
    logged: /42501: permission denied for database "test_\d+"/
  },
  "a database that does not exist any more": {
    begin: () => renamed(database, `${database}_away`),
    end: () => renamed(`${database}_away`, database),
    sentence: "The source database that the service is set up to read from does not exist",
    logged: /3D000: database "test_\d+" does not exist/
  },
  "a server that does not answer": {
    begin: async () => {
      relayAddress.port = String((relay.address() as net.AddressInfo).port)
      await new Promise((resolve) => relay.close(resolve))
    },
    end: () => listen(Number(relayAddress.port)),
    sentence: "The source database cannot be reached",
    logged: /ECONNREFUSED/,
    isOutage: true
  }
}
/** Renames a database, which no session may use. The service has a session there now and then. */
const renamed = (from: string, to: string) =>
  until("the database to have another name", () =>
    admin.unsafe(`alter database ${from} rename to ${to}`).then(
      () => true,
      () => false
    )
  )

const logs = () =>
  service
    .log()
    .map(({ message }) => String(message))
    .join("\n")

const expectShown = (text: string) => {
  for (const internal of internals().filter((one) => one !== "")) expect(text).not.toContain(internal)
}

describe.each(Object.entries(causes))("because of %s", (_, { begin, end, sentence, logged, isOutage }) => {
  // It is called here, since a query of postgres.js does not run before it is awaited.
  beforeAll(async () => void (await begin()))
  afterAll(async () => {
    await end()
    await until("the service to be ready", async () => (await fetch(`${service.url}/ready`)).status === 200)
  })

  const requests: ReadonlyArray<readonly [string, string]> = [
    ["GET", "/exports/csv"],
    ["POST", "/exports/estimate?id=eq.1"],
    ...(isOutage ? [] : [["POST", "/exports/csv?id=eq.1"] as const]),
    ["GET", "/ready"]
  ]
  test.each(requests)("%s %s is answered 503 with a sentence, and the log says why", async (method, path) => {
    const lines = service.log().length
    const response = await until(`${path} to be refused`, async () => {
      const answer = await fetch(service.url + path, { method })
      return answer.status === 503 && answer
    })
    const text = await response.text()
    expect(text).toContain(sentence)
    expectShown(text)
    const written = service.log().slice(lines)
    expect(written.map(({ message }) => String(message))).toContainEqual(expect.stringMatching(logged))
    expect(written.find(({ message }) => logged.test(String(message)))?.annotations["path"]).toBe(path.split("?")[0])
  })
})

test("an export that fails because of a refused login says so without names, in its status and for its download", async () => {
  const { begin, end, sentence, logged } = causes["a line of pg_hba.conf that rejects the role"]!
  await begin()
  const id = await createExport(service)
  const { error } = await reaches(service, id, "failed")
  await end()
  expect(error).toStartWith(sentence)
  const refused = await (await fetch(`${service.url}/exports/${id}/download`)).text()
  expect(refused).toContain(sentence)
  expectShown(refused)
  const written = service.log().filter(({ annotations }) => annotations["exportId"] === id)
  expect(written.map(({ message }) => String(message))).toContainEqual(expect.stringMatching(logged))
})

test("an unusable storage is reported without its path, which the log has", async () => {
  const id = await createExport(service, "?total=1")
  await reaches(service, id, "completed")
  await rm(service.storage, { recursive: true })
  await writeFile(service.storage, "")
  const answers = await Promise.all([fetch(`${service.url}/exports/${id}/download`), fetch(`${service.url}/ready`)])
  for (const answer of answers) expectShown(await answer.text())
  expect(answers.map(({ status }) => status)).toEqual([500, 503])
  expect(logs()).toContain(service.storage)
  await rm(service.storage)
  await mkdir(service.storage)
})

test("a missing schema is an internal error, which the log explains", async () => {
  await admin`alter schema sluice rename to sluice_away`
  const answers = [await fetch(`${service.url}/exports`), await fetch(`${service.url}/exports/csv`, { method: "POST" })]
  await admin`alter schema sluice_away rename to sluice`
  for (const answer of answers) {
    expect(answer.status).toBe(500)
    expectShown(await answer.text())
  }
  expect(logs()).toMatch(/answered 500: Cannot list the exports: 42P01: relation "sluice.exports" does not exist/)
})
