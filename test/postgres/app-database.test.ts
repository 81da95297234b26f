import { expect, test } from "bun:test"
import { toDatabaseError } from "../../src/postgres/app-database.ts"

test.each([
  ["ECONNREFUSED", true],
  ["EPIPE", true],
  ["CONNECTION_CLOSED", true],
  ["08006", true],
  ["53300", true],
  ["57P01", true],
  ["25006", true],
  ["42P01", false],
  ["23505", false],
  ["XX000", false],
  ["P0001", false]
])("an error with the code %s means that the database is unavailable: %p", (code, unavailable) => {
  const error = toDatabaseError("read")(Object.assign(new Error("it failed"), { code }))
  expect(error.unavailable).toBe(unavailable)
})
