/** The demo table as a dataset, for the tests of pure functions. */
import type { Dataset } from "../../src/datasets/dataset.ts"
import { userParameters, users } from "../../src/datasets/users.ts"

const types = {
  id: "bigint",
  name: "text",
  email: "text",
  signup_date: "timestamp with time zone",
  country_code: "character(2)",
  subscription_tier: "text",
  lifetime_value: "numeric(12,2)"
}
export const userColumns: ReadonlyArray<string> = Object.keys(types)

export const usersDataset: Dataset = {
  ...users,
  name: "users",
  kind: "table",
  comment: null,
  columns: Object.entries(types).map(([name, type]) => ({ name, type, nullable: false, comment: null })),
  key: ["id"],
  estimatedRows: null,
  estimatedBytes: null,
  parameters: userParameters
}
