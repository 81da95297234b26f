/** How the `server` script runs Bun: what it sets and passes besides building. */
import packageJson from "../../package.json"

const { server } = packageJson.scripts

export const heapSettings: Readonly<Record<string, string>> = Object.fromEntries(
  [...server.matchAll(/(BUN_JSC_\w+)=(\S+)/g)].map(([, name = "", value = ""]) => [name, value])
)

export const bunFlags: ReadonlyArray<string> = (/exec bun (.*) dist\/main\.js$/.exec(server)?.[1] ?? "").split(" ")
