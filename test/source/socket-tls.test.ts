/** Source connections to a server that offers TLS, for each `sslmode`. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import tls from "node:tls"
import { Effect } from "effect"
import { limits } from "../../src/limits.ts"
import { openSession } from "../../src/source/session.ts"
import { certificate, offerTls } from "../support/tls.ts"
import { copyOf, failureOf, isBlocked, rowsOf, statement, useSource } from "../read/reading.fixture.ts"
import { numberedParts } from "../read/copy/numbered-parts.fixture.ts"
import { rest } from "../read/tables.fixture.ts"

setDefaultTimeout(30_000)

const { sql, changed, open, noBackend, backendThat, terminate } = useSource()

describe("a server that offers TLS", () => {
  const trusted = tls.getCACertificates("default")
  beforeAll(async () => {
    await offerTls(sql(), true)
    tls.setDefaultCACertificates([...trusted, certificate])
  })
  afterAll(async () => {
    tls.setDefaultCACertificates(trusted)
    await offerTls(sql(), false)
  })

  describe.each([
    ["disable", "localhost", false],
    ["prefer", "127.0.0.1", true],
    ["require", "127.0.0.1", true],
    ["verify-ca", "127.0.0.1", true],
    ["verify-full", "localhost", true]
  ])("and sslmode=%s to %s", (sslmode, hostname, encrypted) => {
    const openTls = () => open(changed({ hostname, search: `?sslmode=${sslmode}` }))

    test("answers queries, with TLS and without", async () => {
      await using session = await openTls()
      const query = statement("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
      expect(await session.connection.query(query)).toEqual([{ ssl: encrypted }])
    })

    test("gives the same bytes by COPY and by cursors", async () => {
      const query = "select repeat('x', n) as n from generate_series(1, 5000) n"
      await using copying = await openTls()
      const file = await rest(copyOf(copying.connection, `copy (${query}) to stdout (format csv)`))
      await using fetching = await openTls()
      expect(file.equals(await rest(rowsOf(fetching.connection, query)))).toBe(true)
      const lines = Array.from({ length: 5000 }, (_, row) => "x".repeat(row + 1))
      expect(file.toString()).toBe(["n", ...lines, ""].join("\n"))
    })

    test("waits while nobody takes what it sends", async () => {
      await using session = await openTls()
      const { statements, file } = numberedParts([{ rows: 40_000 }])
      const source = copyOf(session.connection, ...statements)
      for (let look = 0; look < 10; look++) await backendThat("waits for us to read", isBlocked)
      expect(source.waitingBytes).toBeLessThan(limits.readAheadBytes + 1_000_000)
      expect((await rest(source)).equals(file())).toBe(true)
    })

    test("fails a COPY when the connection is lost", async () => {
      await using session = await openTls()
      const source = copyOf(session.connection, "copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout")
      await terminate("waits for us to read", isBlocked)
      expect((await failureOf(source)).error.retryable).toBe(true)
    })
  })

  test.each([
    ["verify-full", "127.0.0.1", trusted.concat(certificate), "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["verify-full", "localhost", trusted, "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["verify-ca", "localhost", trusted, "DEPTH_ZERO_SELF_SIGNED_CERT"]
  ])("is refused by sslmode=%s to %s when its certificate does not suit", async (sslmode, hostname, authorities, reason) => {
    tls.setDefaultCACertificates(authorities)
    const target = changed({ hostname, search: `?sslmode=${sslmode}` })
    const { message, logged } = await Effect.runPromise(Effect.scoped(Effect.flip(openSession(target))))
    tls.setDefaultCACertificates([...trusted, certificate])
    expect(message).toBe("The certificate of the source database is not accepted; the log says why")
    expect(logged).toContain(reason)
    await noBackend()
  })
})
