import type { Dataset } from "./dataset.ts"

export const subscriptionTiers = ["free", "basic", "premium", "enterprise"] as const

/** The demo table; `seeds/users.ts` fills it. */
export const users = {
  name: "users",
  schema: "public",
  table: "users",
  columns: ["id", "name", "email", "signup_date", "country_code", "subscription_tier", "lifetime_value"],
  filters: {
    country_code: { column: "country_code", operator: "=", type: "bpchar" },
    subscription_tier: { column: "subscription_tier", operator: "=", type: "text" },
    min_ltv: { column: "lifetime_value", operator: ">=", type: "numeric" }
  }
} as const satisfies Dataset

export const datasets: Readonly<Record<string, Dataset>> = { users }
