// Measured by programs.ts: COPY on Node, as the documentation of pg-copy-streams shows it.
import { Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Client } from "pg"
import { to as copyTo } from "pg-copy-streams"

const start = performance.now()
const client = new Client(process.env.DATABASE_URL)
await client.connect()
const stream = client.query(copyTo("copy (select * from users) to stdout (format csv, header)"))
let bytes = 0
const counter = new Writable({
  write(chunk, _encoding, done) {
    bytes += chunk.length
    done()
  }
})
await pipeline(stream, counter)
const seconds = (performance.now() - start) / 1000
// Says goodbye after the server's last word, which tells the rows.
await client.end()
console.log(JSON.stringify({ seconds, rows: stream.rowCount, bytes }))
