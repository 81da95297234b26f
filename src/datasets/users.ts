import type { Definition } from "./definitions.ts"

/** The demo table; `postgres/demo-users.ts` fills it. */
export const users = { schema: "public", table: "users" } as const

/** The dataset of a request that names none. */
export const DEFAULT_DATASET = "users"

/** The definition of the demo table, which is built in. */
export const usersDefinition = {
  parameters: {
    country_code: {
      column: "country_code",
      operator: "eq",
      pattern: "[A-Z]{2}",
      allowed: "two capital letters, such as US or UK"
    },
    subscription_tier: { column: "subscription_tier", operator: "eq", values: ["free", "basic", "premium", "enterprise"] },
    min_ltv: {
      column: "lifetime_value",
      operator: "gte",
      pattern: String.raw`-?\d{1,40}(\.\d{1,40})?`,
      allowed: "a decimal number, such as 100 or 99.95"
    }
  }
} as const satisfies Definition
