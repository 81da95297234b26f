/** Reads a URL as curl would, where there is no curl, and prints the bytes that came and the seconds until the first. */
import { argv, stdout } from "node:process"

const [url = "", coding = "identity"] = argv.slice(2)
const start = performance.now()
// `decompress` is Bun's own option.
const response = await fetch(url, { headers: { "Accept-Encoding": coding }, decompress: false })
if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
let bytes = 0
let firstMs = 0
for await (const chunk of response.body!) {
  firstMs ||= performance.now() - start
  bytes += chunk.length
}
stdout.write(`${bytes} ${firstMs / 1000}`)
