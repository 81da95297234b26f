/** TLS for a test's database server. */
import type postgres from "postgres"
import { until } from "./until.ts"

/** A certificate of `localhost`, signed by itself, valid until 2120. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBZjCCAQugAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtzbHVpY2Ug
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLc2x1aWNlIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQyRqTqxaIl
t2FRbjImMWu+9EiHbPvzs3gunJCPvsJQHSTggUIrZ3wCgbbRs/Ig8bEnXF3hv6cW
lasxDSjKddHZo0gwRjAUBgNVHREEDTALgglsb2NhbGhvc3QwDwYDVR0TAQH/BAUw
AwEB/zAdBgNVHQ4EFgQUoBo6gEQwtFBs+5HmVbA6RKrj5EMwCgYIKoZIzj0EAwID
SQAwRgIhAO+t9CV9etecpY90sG5LbgvDRzZO1C1BNxLTVap8zAYuAiEAh48/cN0v
hxPhkxS0EL55YrfmEWgeGA9NoF3VWRA2DOg=
-----END CERTIFICATE-----`
/** The key of the certificate, which protects nothing. */
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgd4JWsi6WoarxlLDE
wxS/CfHaFYI966sktBmmeVU2QxKhRANCAAQyRqTqxaIlt2FRbjImMWu+9EiHbPvz
s3gunJCPvsJQHSTggUIrZ3wCgbbRs/Ig8bEnXF3hv6cWlasxDSjKddHZ
-----END PRIVATE KEY-----`

/** Lets the server offer TLS, or not. */
export const offerTls = async (sql: postgres.Sql, on: boolean): Promise<void> => {
  for (const [file, content] of Object.entries({ "server.crt": certificate, "server.key": key })) {
    await sql.unsafe(`copy (select unnest(string_to_array('${content}', E'\\n'))) to program 'umask 077 && cat > ${file}'`)
  }
  await sql.unsafe(`alter system set ssl = ${on ? "on" : "off"}`)
  await sql`select pg_reload_conf()`
  await until("the server to have read it", async () => (await sql`show ssl`)[0]!["ssl"] === (on ? "on" : "off"))
}
