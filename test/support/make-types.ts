/**
 * Writes the types that openapi-typescript makes of a document, as its command line does. It needs the compiler of
 * TypeScript 5 as a library, which TypeScript 7 is not.
 */
import { plugin } from "bun"

plugin({
  name: "TypeScript 5",
  setup: (build) => {
    build.module("typescript", async () => ({ exports: await import("typescript-5"), loader: "object" }))
  }
})

const { default: openapiTS, astToString } = await import("openapi-typescript")
const document = (await Bun.file(process.argv[2]!).json()) as never
await Bun.write(Bun.stdout, astToString(await openapiTS(document, { silent: true })))
