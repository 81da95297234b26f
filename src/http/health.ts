import { Effect } from "effect"
import { limits } from "../config.ts"
import { ExportStore } from "../jobs/export-store.ts"
import { RowSource } from "../rows/row-source.ts"
import { ExportStorage } from "../storage/export-storage.ts"
import { NotReady } from "./problem.ts"

/** Touches nothing that can be slow. */
const health = () => Effect.sync(() => Response.json({ status: "ok" }, { headers: { "Cache-Control": "no-store" } }))

const check = <E extends { readonly message: string }>(field: string, probe: Effect.Effect<unknown, E>) =>
  probe.pipe(
    Effect.timeoutFail({
      duration: limits.readyCheckMs,
      onTimeout: () => ({ message: `no answer within ${limits.readyCheckMs / 1000} s` })
    }),
    Effect.match({ onSuccess: () => [], onFailure: ({ message }) => [{ field, detail: message }] })
  )

/** Whether the process lives, and whether it can do its work. */
export class HealthRoutes extends Effect.Service<HealthRoutes>()("HealthRoutes", {
  effect: Effect.gen(function* () {
    const store = yield* ExportStore
    const source = yield* RowSource
    const storage = yield* ExportStorage

    const ready = () =>
      Effect.gen(function* () {
        const errors = yield* Effect.all(
          [check("database", store.check), check("source", source.check), check("storage", storage.check)],
          { concurrency: "unbounded" }
        )
        if (errors.flat().length > 0) return yield* new NotReady({ errors: errors.flat() })
        return Response.json({ status: "ready" }, { headers: { "Cache-Control": "no-store" } })
      })

    return { health, ready } as const
  })
}) {}
