/** Effects in `bun:test`. */
import { ConfigProvider, Effect, Layer, TestContext, type Scope } from "effect"
import { AppConfig } from "../../src/config.ts"

/** Runs an effect with a scope of its own and a TestClock that stands at 0. */
export const withTestClock = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(effect.pipe(Effect.scoped, Effect.provide(TestContext.TestContext)))

/** Lets every fiber run until it waits for another or for the clock. */
export const settled = Effect.repeatN(Effect.yieldNow(), 50)

/** The settings that these environment variables, and no others, give. */
export const settings = (variables: Readonly<Record<string, string>> = {}) =>
  AppConfig.Default.pipe(Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))))
