import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { toBenchError } from "./case.ts"
import { runProcess } from "./process.ts"

export type Coding = "identity" | "gzip" | "zstd"

const CURL_OPTIONS = "--silent --show-error --fail --output /dev/null --write-out"
  .split(" ")
  .concat("%{size_download} %{time_starttransfer}")

const commandFor = (url: string, coding: Coding): [string, ...Array<string>] =>
  Bun.which("curl")
    ? ["curl", ...CURL_OPTIONS, ...(coding === "identity" ? [] : ["--header", `Accept-Encoding: ${coding}`]), url]
    : [process.execPath, fileURLToPath(import.meta.resolve("./fetch-program.ts")), url, coding]

/** Reads an answer by a client in a process of its own, and drops it. */
export const download = (url: string, coding: Coding = "identity") =>
  runProcess(commandFor(url, coding)).pipe(
    Effect.map(({ output, seconds }) => {
      const [bytes = Number.NaN, firstByte = Number.NaN] = output.split(" ").map(Number)
      return { seconds, bytes, firstByteMs: firstByte * 1000 }
    })
  )

/** Reads a file, so that it is in memory. */
export const warmFile = (path: string) =>
  Effect.tryPromise({
    try: async () => {
      for await (const _ of Bun.file(path).stream());
    },
    catch: toBenchError(`read ${path}`)
  })

/** Asks for the head of what is then read: it shows that the server is there, and warms what it needs. */
export const head = (url: string) =>
  Effect.tryPromise({
    try: async (signal) => {
      const { status } = await fetch(url, { method: "HEAD", signal })
      if (status !== 200) throw new Error(`the server answers ${status}`)
    },
    catch: toBenchError(`read ${url}`)
  })
