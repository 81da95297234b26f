// Measured by programs.ts: what many services do, as the documentation of pg-query-stream and csv-stringify shows it.
import { Writable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { stringify } from "csv-stringify"
import { Client } from "pg"
import QueryStream from "pg-query-stream"

const start = performance.now()
const client = new Client(process.env.DATABASE_URL)
await client.connect()
const rows = client.query(new QueryStream("select * from users", [], { batchSize: 1000 }))
const stringifier = stringify({ header: true })
let bytes = 0
const counter = new Writable({
  write(chunk, _encoding, done) {
    bytes += chunk.length
    done()
  }
})
await pipeline(rows, stringifier, counter)
const seconds = (performance.now() - start) / 1000
await client.end()
console.log(JSON.stringify({ seconds, rows: stringifier.info.records, bytes }))
