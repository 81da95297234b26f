/** The definition of the demo table, which the service brings along. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { startService } from "../support/service.ts"
import { connect, freshDatabase } from "../support/shared-service.ts"
import { fileOf } from "./hr-dataset.fixture.ts"

setDefaultTimeout(60_000)

const demo = async (table: string, definition: object) => {
  const database = await freshDatabase()
  const owner = await connect(database, 1)
  await owner.unsafe(`drop table if exists users; ${table}`)
  const settings = { DATABASE_URL: database, DATASETS_FILE: await fileOf({ "public.users": definition }) }
  const started = await startService(settings)
  const described = (await (await fetch(`${started.url}/datasets/users`)).json()) as { parameters: ReadonlyArray<string> }
  const ask = (query: string) => fetch(`${started.url}/exports/csv?dataset=users&columns=id&header=none&${query}`)
  return { parameters: described.parameters, ask, stop: started.stop }
}

describe("the built-in definition of the demo table", () => {
  const columns = "id bigint primary key, country_code char(2), lifetime_value numeric"

  test("is left out if it does not fit: another table may have the name", async () => {
    const other = await demo(`create table users (${columns}, subscription_tier int)`, { comment: "ours" })
    expect(other.parameters).toEqual([])
    expect((await other.ask("min_ltv=1")).status).toBe(400)
    expect((await other.ask("country_code=nowhere")).status).toBe(200)
    expect(await other.stop()).toBe(0)
  })

  test("yields to the definition of DATASETS_FILE, and is kept where that says nothing else", async () => {
    const parameters = { min_ltv: { column: "lifetime_value", operator: "gt" } }
    const table = `create table users (${columns}, subscription_tier text); insert into users values (1, 'US', 5), (2, 'UK', 6)`
    const own = await demo(table, { hidden: ["subscription_tier"], parameters })
    expect(own.parameters).toEqual(["country_code", "min_ltv"])
    expect(await (await own.ask("min_ltv=5")).text()).toBe("2\n")
    expect((await own.ask("country_code=nowhere")).status).toBe(400)
    expect(await own.stop()).toBe(0)
  })
})
