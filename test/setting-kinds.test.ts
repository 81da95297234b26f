import { describe, expect, test } from "bun:test"
import { Duration, Redacted } from "effect"
import { databaseUrl, duration, hostName, hosts, integer, oneOf, origins, relations, type Kind } from "../src/setting-kinds.ts"

describe("a value is refused that is not", () => {
  const cases: ReadonlyArray<readonly [string, Kind<unknown>, ReadonlyArray<string>]> = [
    [
      "a whole number",
      integer(5, 20),
      ["abc", "-6", "6.5", "1e1", " 6", "0x10", "１", "NaN", "Infinity", "4", "21", "9".repeat(30)]
    ],
    [
      "a time",
      duration("1 day"),
      [
        "soon",
        "0",
        "0 seconds",
        "999 millis",
        "-5 seconds",
        "5 fortnights",
        "Infinity",
        "NaN seconds",
        "25 hours",
        "9".repeat(30)
      ]
    ],
    ["one of the choices", oneOf("red", "green"), ["blue", "re", "1", "red,green"]],
    ["a host", hostName, ["a b", "http://host", "host/path", "a\nb"]],
    [
      "a list of hosts",
      hosts,
      ["http://host", "host/path", "a b", "a,,b", "a,", "*.example.com", "host:port", "[::1", "user@host"]
    ],
    [
      "a list of origins",
      origins,
      [
        "*",
        "null",
        "app.example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "https://u@a",
        "https://a?b",
        "ftp://a",
        "https://a,"
      ]
    ],
    ["a list of relations", relations, ["orders", "public.orders,", "*.*"]],
    [
      "a URL of a PostgreSQL database that clients can decode",
      databaseUrl,
      ["x", "u:p@h/d", "mysql://h/d", "http://h/d", "postgres://h", "postgres://h/", "postgres://h:port/d", "postgres://u:p%@h/d"]
    ]
  ]
  test.each(cases)("%s", (_, kind, values) => {
    for (const value of values) expect({ value, parsed: kind.parse(value) }).toEqual({ value, parsed: undefined })
  })
})

describe("a value is read as", () => {
  test("a whole number, within its bounds", () => {
    expect(["5", "007", "20"].map(integer(5, 20).parse)).toEqual([5, 7, 20])
  })
  test("a time, in seconds when it has no unit", () => {
    const read = ["90 minutes", "1 second", "45", "1 day"].map(duration("1 day").parse)
    expect(read.map((time) => Duration.toSeconds(time!))).toEqual([5_400, 1, 45, 86_400])
  })
  test("a choice, whatever its case", () => {
    expect(["red", "GREEN"].map(oneOf("red", "green").parse)).toEqual(["red", "green"])
  })
  test("hosts, without their ports", () => {
    expect(hosts.parse("sluice.example.com, Intern:8080,10.1.2.3:80")).toEqual(["sluice.example.com", "Intern", "10.1.2.3"])
    expect(hosts.parse("[fd00::1]:8080,::1")).toEqual(["[fd00::1]", "::1"])
    expect(["::1", "db-1.internal"].map(hostName.parse)).toEqual(["::1", "db-1.internal"])
  })
  test("origins, as browsers send them", () => {
    expect(origins.parse("http://localhost:3000, HTTPS://App.example.com:443")).toEqual([
      "http://localhost:3000",
      "https://app.example.com"
    ])
  })
  test("the URL of a database, as a secret", () => {
    const url = "postgresql://h:5433/d?sslmode=require"
    expect(Redacted.value(databaseUrl.parse(url)!)).toBe(url)
  })
})
