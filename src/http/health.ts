import { Effect, Redacted } from "effect"
import { Databases, limits } from "../config.ts"
import { attempt, Control } from "../postgres/control.ts"
import { connectSource } from "../rows/source-connection.ts"
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
    const { sql } = yield* Control
    const storage = yield* ExportStorage
    const source = Redacted.value((yield* Databases).source)

    const ready = () =>
      Effect.gen(function* () {
        const errors = yield* Effect.all(
          [
            check(
              "database",
              attempt("reach Sluice's database", () => sql`select 1`)
            ),
            check("source", Effect.scoped(connectSource(source))),
            check("storage", storage.check)
          ],
          { concurrency: "unbounded" }
        )
        if (errors.flat().length > 0) return yield* new NotReady({ errors: errors.flat() })
        return Response.json({ status: "ready" }, { headers: { "Cache-Control": "no-store" } })
      })

    return { health, ready } as const
  })
}) {}
