/** Exports that several sessions with one snapshot read in parts. `MOVED_ROUNDS` says how often they run while rows are moved. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "node:net"
import type postgres from "postgres"
import { copyCsv, createExport, download, reaches } from "../support/client.ts"
import { shortLimits } from "../support/limits.ts"
import { chunkedBody, exchange } from "../support/raw-http.ts"
import { startService, type Service } from "../support/service.ts"
import { connect, freshDatabase, once } from "../support/shared-service.ts"
import { multiplyUsers, sourceBackends, sourceIsLeft, terminateNewest } from "../support/source.ts"
import { until } from "../support/until.ts"

setDefaultTimeout(90_000)

const ROUNDS = Number(process.env["MOVED_ROUNDS"] ?? 5)

const services: Array<Service> = []
/** A database with a table of some 25 parts, more than fits into the buffers of two sockets. */
const largeDatabase = once(async () => {
  const database = await freshDatabase()
  await multiplyUsers(database, 6)
  return database
})
/** Starts a service that reads this database, with an app database of its own. */
const start = async (env: Record<string, string> = {}, options?: Parameters<typeof startService>[1]): Promise<Service> => {
  const database = await largeDatabase()
  const service = await startService({ SOURCE_DATABASE_URL: database, ...env }, options)
  services.push(service)
  return { ...service, database }
}
afterAll(async () => {
  for (const service of services) expect(await service.stop()).toBe(0)
})

/** Begins a stream whose client stops after the first bytes, and takes the rest when `go` is called. */
const stalledStream = ({ url }: Service) => {
  let stalled: Socket | undefined
  const wire = exchange(url, "GET /api/v1/exports/csv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (socket) => {
    if (!stalled) stalled = socket.pause()
  })
  return {
    wire,
    begun: until("the stream to begin", () => stalled !== undefined),
    go: () => stalled!.resume(),
    leave: () => stalled!.destroy()
  }
}

describe("a stream breaks off, without rows of another table, when its table changes while it is read:", () => {
  test.each([
    ["another table gets its name", "alter schema public rename to past; alter schema staging rename to public"],
    ["row security begins to hide rows from the role", "alter role all_seeing nobypassrls"]
  ])("%s", async (_, change) => {
    const database = await freshDatabase()
    await multiplyUsers(database, 6)
    const sql = await connect(database, 1)
    await sql.unsafe(`
      drop role if exists all_seeing; create role all_seeing login bypassrls password 'all_seeing';
      create schema staging; create table staging.users as select id, 'another' as name, email, signup_date, country_code,
        subscription_tier, lifetime_value from public.users;
      alter table public.users enable row level security; create policy half on public.users using (id % 2 = 0);
      grant usage on schema public, staging to all_seeing; grant select on public.users, staging.users to all_seeing`)
    const source = Object.assign(new URL(database), { username: "all_seeing", password: "all_seeing" }).href
    const service = await startService({ DATABASE_URL: database, SOURCE_DATABASE_URL: source, EXPORT_DATASETS: "public.users" })
    services.push(service)
    const stream = stalledStream(service)
    await stream.begun
    await sql.unsafe(change)
    stream.go()
    const wire = (await stream.wire).toString("latin1")
    expect(wire).toStartWith("HTTP/1.1 200 OK")
    expect(wire).not.toEndWith("\r\n0\r\n\r\n")
    expect(wire).not.toContain(",another,")
    expect(service.log().map(({ message }) => String(message))).toContainEqual(
      expect.stringContaining("replaced while it was exported")
    )
    await sql.unsafe("drop owned by all_seeing; drop role all_seeing")
  })
})

const plans = (service: Service) =>
  service
    .log()
    .filter(({ message }) => message === "export planned")
    .map(({ annotations }) => annotations["parts"] as number)

describe("a table that two sessions read", () => {
  let service: Service
  let expected: Buffer
  beforeAll(async () => {
    service = await start()
    expected = await copyCsv(service, "select * from users")
  })
  const backends = (count: number) =>
    until(`${count} source connections`, async () => (await sourceBackends(service.database)).length === count)
  /** Waits until both sessions have sent what they may, and begin no further part. */
  const allStopped = async (count: number) => {
    const sql = await connect(service.database, 1)
    let seen = ""
    let looks = 0
    await until("the queries to stop", async () => {
      const rows = await sql`select pid, query_start::text from pg_stat_activity where application_name = 'sluice source'
        and datname = current_database() and wait_event in ('ClientRead', 'ClientWrite') order by 1`
      const state = JSON.stringify(rows)
      looks = rows.length === count && state === seen ? looks + 1 : 0
      seen = state
      return looks === 30
    })
  }

  test.each([
    ["id", ""],
    ["-id", " desc"],
    ["-id&country_code=not.eq.US&profile=tsv", " desc"]
  ])("is what COPY writes in the order of its key, in whose ranges it is read: %s", async (order, direction) => {
    const query = `?order_by=${order}`
    const estimate = await fetch(`${service.url}/exports/estimate${query}`, { method: "POST" })
    expect(await estimate.json()).toMatchObject({ plan: { source: "copy", connections: 2, reason: "ranges of its key" } })
    const file = Buffer.from(await (await fetch(`${service.url}/exports/csv${query}`)).arrayBuffer())
    const [filter, options] = order.includes("tsv") ? ["where country_code <> 'US'", ", delimiter e'\\t'"] : ["", ""]
    const sorted = await copyCsv(service, `select * from users ${filter} order by id${direction}`, options)
    expect(file.equals(sorted)).toBe(true)
    expect(plans(service).at(-1)).toBeGreaterThan(10)
  })

  test("is what COPY writes, and the log has the plan", async () => {
    const id = await createExport(service)
    const { progress, crc32 } = await reaches(service, id, "completed")
    const file = await download(service, id)
    expect(file.equals(expected)).toBe(true)
    expect(progress.totalRows).toBe(300_000)
    expect(crc32).toBe(Bun.hash.crc32(file).toString(16).padStart(8, "0"))
    expect(plans(service)[0]).toBeGreaterThan(12)
  })

  test("is complete for a client that pauses again and again, for which buffers are reused", async () => {
    let received = 0
    const wire = await exchange(
      service.url,
      "GET /exports/csv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      (socket, data) => {
        const before = received
        received += data.length
        if (Math.floor(before / 1e6) === Math.floor(received / 1e6)) return
        socket.pause()
        setTimeout(() => socket.resume(), 10)
      }
    )
    expect(chunkedBody(wire).equals(expected)).toBe(true)
  })

  test("pauses in both sessions when its client stops reading, loses one of them, and is complete nevertheless", async () => {
    const stream = stalledStream(service)
    await stream.begun
    await backends(2)
    await allStopped(2)
    await backends(1)
    stream.go()
    expect(chunkedBody(await stream.wire).equals(expected)).toBe(true)
    await sourceIsLeft(service.database)
  })

  test("is complete after the session of the reader is killed", async () => {
    const stream = stalledStream(service)
    await stream.begun
    await backends(2)
    await terminateNewest(service.database)
    stream.go()
    expect(chunkedBody(await stream.wire).equals(expected)).toBe(true)
  })

  test("is left by both sessions within a second after its client has left", async () => {
    const stream = stalledStream(service)
    await stream.begun
    await backends(2)
    stream.leave()
    await sourceIsLeft(service.database)
  })
})

describe("when MAX_SOURCE_CONNECTIONS is small", () => {
  test("each export has one session, jobs wait, and a stream that gets none is 503 with Retry-After", async () => {
    const service = await start({ MAX_SOURCE_CONNECTIONS: "2", MAX_CONCURRENT_EXPORTS: "1" }, { limits: shortLimits })
    const stream = stalledStream(service)
    await stream.begun
    // The reader of the stream yields.
    const id = await createExport(service)
    await reaches(service, id, "completed")
    const refused = await fetch(`${service.url}/exports/csv`)
    expect(refused.status).toBe(503)
    expect(refused.headers.get("Retry-After")).toBe("1")
    expect(await refused.json()).toMatchObject({ detail: "Cannot start the export: all 2 source connections are in use" })
    stream.go()
    expect(chunkedBody(await stream.wire).equals(await download(service, id))).toBe(true)
  })

  test("one session is enough", async () => {
    const service = await start({ MAX_SOURCE_CONNECTIONS: "1" })
    const ids = [await createExport(service), await createExport(service)]
    const expected = await copyCsv(service, "select * from users")
    for (const id of ids) {
      await reaches(service, id, "completed")
      expect((await download(service, id)).equals(expected)).toBe(true)
    }
  })
})

/** Runs transactions that keep the number of rows and the sum of `lifetime_value`, one after the other until `stop`. */
const write = (sql: postgres.Sql) => {
  const stopping = new AbortController()
  let written = 0
  const loop = async () => {
    for (let id = 10_000_000; !stopping.signal.aborted; id++, written++) {
      const [from, to, gone] = [1, 2, 3].map((n) => 1 + ((id * 7919 * n) % 50_000))
      await sql
        .begin(async (tx) => {
          await tx`update users set lifetime_value = lifetime_value - 12.34 where id = ${from!}`
          await tx`update users set lifetime_value = lifetime_value + 12.34 where id = ${to!}`
          await tx`with gone as (delete from users where id = ${gone!} returning *)
          insert into users select ${id}, name, email, signup_date, country_code, subscription_tier, lifetime_value from gone`
          // The row may be gone since it was moved; then nothing is added or taken.
          const [sum] = await tx`select (select count(*) from users where id in (${from!}, ${to!}))::int as found`
          if (sum!["found"] !== 2 && from !== to) throw new Error("undone")
        })
        .catch((error: Error) => {
          if (error.message !== "undone") throw error
        })
    }
  }
  const done = loop()
  return {
    stop: async () => {
      stopping.abort()
      await done
      return written
    }
  }
}

/** Counts rows and distinct ids, and sums the values in cents. */
const totals = (file: string) => {
  const lines = file.split("\n").slice(1, -1)
  const ids = new Set(lines.map((line) => line.slice(0, line.indexOf(","))))
  const cents = lines.reduce((sum, line) => sum + Math.round(Number(line.slice(line.lastIndexOf(",") + 1)) * 100), 0)
  return { rows: lines.length, ids: ids.size, cents }
}

describe("while rows are moved, added and deleted", () => {
  test(`each of ${2 * ROUNDS} exports, half of them streams, shows one moment`, async () => {
    const service = await startService()
    services.push(service)
    const before = totals((await copyCsv(service, "select * from users")).toString())
    const writer = write(await connect(service.database, 1))
    const moments = new Set<string>()
    for (let round = 0; round < ROUNDS; round++) {
      const id = await createExport(service)
      const stream = await (await fetch(`${service.url}/exports/csv`)).text()
      await reaches(service, id, "completed")
      for (const file of [stream, (await download(service, id)).toString()]) {
        expect(totals(file)).toEqual(before)
        moments.add(Bun.hash(file).toString())
      }
    }
    expect(await writer.stop()).toBeGreaterThan(2 * ROUNDS)
    expect(moments.size).toBeGreaterThan(ROUNDS)
    expect(Math.min(...plans(service))).toBeGreaterThan(2)
  })
})
