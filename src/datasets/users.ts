import type { DatasetParameter } from "./dataset.ts"

export const subscriptionTiers = ["free", "basic", "premium", "enterprise"] as const

/** The demo table; `seeds/users.ts` fills it. */
export const users = { schema: "public", table: "users" } as const

/** Its name as a dataset, which a request that names none asks for. */
export const DEFAULT_DATASET = "users"

/** Its parameters. */
export const userParameters = {
  country_code: { column: "country_code", operator: "=", type: "bpchar" },
  subscription_tier: { column: "subscription_tier", operator: "=", type: "text" },
  min_ltv: { column: "lifetime_value", operator: ">=", type: "numeric" }
} as const satisfies Readonly<Record<string, DatasetParameter>>
