/** Every setting of the service, as a table. `bun run settings` makes `.env.example` and README's table from it. */
import { limits } from "./limits.ts"
import {
  databaseUrl,
  duration,
  hostName,
  hosts,
  integer,
  oneOf,
  origins,
  path,
  relations,
  text,
  type Kind
} from "./setting-kinds.ts"

export interface Setting<A = unknown> {
  readonly name: string
  /** An older name, which the name wins over. */
  readonly alias?: string
  readonly kind: Kind<A>
  /** As the variable would say it. A setting without a default is undefined when it is not set. */
  readonly default?: string
  /** What holds without a default, for people. */
  readonly otherwise?: string
  readonly example?: string
  /** A phrase for README. Neighbours with the same meaning share a row there. */
  readonly meaning: string
  /** Further sentences for `.env.example`. */
  readonly detail?: string
}

const http = {
  host: {
    name: "HOST",
    kind: hostName,
    default: "127.0.0.1",
    meaning: "Address to listen on",
    detail: "0.0.0.0 is every IPv4 address of the machine."
  },
  port: {
    name: "PORT",
    alias: "API_PORT",
    kind: integer(0, 65_535),
    default: "8080",
    meaning: "Port to listen on; 0 takes a free one"
  },
  allowedHosts: {
    name: "ALLOWED_HOSTS",
    kind: hosts,
    otherwise: "loopback names and `HOST`",
    example: "sluice.example.com,10.1.2.3",
    meaning: "Further hosts that a request may name; `*` allows all",
    detail:
      "A port does not matter. Any other host gets 421, except on /health and /ready. Use * behind a proxy that checks the host."
  },
  corsOrigins: {
    name: "CORS_ORIGINS",
    kind: origins,
    otherwise: "none",
    example: "https://app.example.com",
    meaning: "Origins of web pages that may use Sluice from a browser",
    detail: "Pages of other origins cannot create, change or read anything."
  }
} as const satisfies Record<string, Setting>

/** The meaning of each part of the long form of DATABASE_URL. */
const parts = { meaning: "The same in parts" }

const databases = {
  databaseUrl: {
    name: "DATABASE_URL",
    kind: databaseUrl,
    otherwise: "an embedded PostgreSQL",
    example: "postgres://user:password@localhost:5432/database",
    meaning: "Where Sluice keeps its own tables and its queue",
    detail:
      "The tables are in the schema sluice. The URL names a database; special characters in the password are percent-encoded."
  },
  dbHost: {
    name: "DB_HOST",
    kind: hostName,
    otherwise: "`localhost`",
    example: "localhost",
    ...parts,
    detail: "They are read when DATABASE_URL is unset and DB_HOST, DB_USER, DB_PASSWORD or DB_NAME is set."
  },
  dbPort: { name: "DB_PORT", kind: integer(1, 65_535), default: "5432", ...parts },
  dbUser: { name: "DB_USER", kind: text, otherwise: "`postgres`", example: "postgres", ...parts },
  dbPassword: { name: "DB_PASSWORD", kind: text, otherwise: "empty", ...parts, detail: "It is not percent-encoded." },
  dbName: { name: "DB_NAME", kind: text, otherwise: "`postgres`", example: "postgres", ...parts },
  source: {
    name: "SOURCE_DATABASE_URL",
    kind: databaseUrl,
    otherwise: "the same database",
    example: "postgres://user:password@replica:5432/database",
    meaning: "Where exported rows are read, a read replica for example"
  },
  seedRows: {
    name: "SEED_ROWS",
    kind: integer(0, 1_000_000_000),
    otherwise: "1000000 in the embedded database, else 0",
    example: "0",
    meaning: "Demo rows loaded into `public.users` at start when it is missing or empty"
  }
} as const satisfies Record<string, Setting>

const files = {
  dataDir: {
    name: "DATA_DIR",
    kind: path,
    default: ".data",
    meaning: "Directory of the embedded database and other local state"
  },
  storagePath: {
    name: "EXPORT_STORAGE_PATH",
    kind: path,
    otherwise: "`exports` in `DATA_DIR`",
    example: ".data/exports",
    meaning: "Directory of export files",
    detail: "Each app database has a folder of its own in it."
  }
} as const satisfies Record<string, Setting>

const exports = {
  datasets: {
    name: "EXPORT_DATASETS",
    kind: relations,
    otherwise: "the demo's table, or nothing",
    example: 'public.orders,reporting.*,sales."Odd Name"',
    meaning: "What may be exported: `schema.table`, or `schema.*` for all of a schema",
    detail:
      "Names are written as in SQL, odd ones in double quotes. When unset, public.users may be exported from the embedded database and wherever SEED_ROWS loads it."
  },
  datasetsFile: {
    name: "DATASETS_FILE",
    kind: path,
    otherwise: "none",
    example: "./datasets.json",
    meaning: "A JSON file that refines the datasets",
    detail: "Other names, hidden columns, labels, conditions, a row limit. datasets.schema.json describes it."
  },
  exportSource: {
    name: "EXPORT_SOURCE",
    kind: oneOf("copy", "cursor"),
    default: "copy",
    meaning: "How rows are read: `copy`, or the slower `cursor`",
    detail:
      "With copy the server writes the CSV; with cursor it sends rows. The files are the same. cursor is for servers and proxies without COPY TO STDOUT."
  },
  batchSize: { name: "BATCH_SIZE", kind: integer(1, 100_000), default: "1000", meaning: "Rows per cursor fetch" },
  chunkSize: {
    name: "CHUNK_SIZE",
    kind: integer(1_024, 1_048_576),
    default: "65536",
    meaning: "Bytes per chunk emitted to storage or a client"
  },
  maxConcurrentExports: {
    name: "MAX_CONCURRENT_EXPORTS",
    kind: integer(1, 64),
    default: "3",
    meaning: "Jobs that one instance runs at once",
    detail: "More wait in the queue."
  },
  exportParallelism: {
    name: "EXPORT_PARALLELISM",
    kind: integer(1, 16),
    default: "2",
    meaning: "Source sessions that one export may use",
    detail:
      "Further ones are used only while no other export waits for a session. With more than 2, three jobs at once take more than 150 MB of memory."
  },
  streamLookahead: {
    name: "STREAM_LOOKAHEAD",
    kind: integer(0, 1_073_741_824),
    default: "16777216",
    meaning: "Bytes of memory for the further sessions of all exports together",
    detail:
      "Each of them counts as 2 MiB. An export goes on without one for which there is no room; below 2 MiB each has one session."
  },
  maxSourceConnections: {
    name: "MAX_SOURCE_CONNECTIONS",
    kind: integer(1, 1_000),
    default: "64",
    meaning: "Source sessions of all exports together; more wait",
    detail: "The server's max_connections must have room for them and for about 15 more."
  },
  sourceOutage: {
    name: "SOURCE_OUTAGE",
    kind: duration(limits.sourceOutageMax),
    default: "15 minutes",
    meaning: "How long a job waits for a source that cannot be reached before it fails"
  },
  queueLimit: {
    name: "QUEUE_LIMIT",
    kind: integer(1, 1_000_000),
    default: "10000",
    meaning: "Unfinished exports of all instances; beyond it a POST gets `429`"
  },
  exportTtl: {
    name: "EXPORT_TTL",
    kind: duration("365 days"),
    default: "24 hours",
    meaning: "The file of a finished export is removed after this"
  }
} as const satisfies Record<string, Setting>

const streams = {
  rateLimitMax: {
    name: "RATE_LIMIT_MAX",
    kind: integer(1, 10_000),
    default: "60",
    meaning: "Streams that one API key may begin in a sliding window"
  },
  rateLimitWindow: { name: "RATE_LIMIT_WINDOW", kind: duration("1 day"), default: "1 minute", meaning: "Length of that window" },
  streamsPerKey: {
    name: "STREAMS_PER_KEY",
    kind: integer(1, 1_000),
    default: "16",
    meaning: "Streams of one key, or of one address without keys, at once",
    detail:
      "A further one waits its turn for up to 5 seconds, then gets 429. All keys of one address together have 16 more than one key."
  },
  streamMaxTime: {
    name: "STREAM_MAX_TIME",
    kind: duration("7 days"),
    default: "6 hours",
    meaning: "The longest a stream may take; then it is broken off"
  },
  gzipLevel: {
    name: "GZIP_LEVEL",
    kind: integer(1, 9),
    default: "2",
    meaning: "Level of gzip made on the fly: 1 is fast, 9 small"
  }
} as const satisfies Record<string, Setting>

const logs = {
  logLevel: {
    name: "LOG_LEVEL",
    kind: oneOf("debug", "info", "warning", "error", "none"),
    default: "info",
    meaning: "Least severe level of the log"
  },
  logFormat: {
    name: "LOG_FORMAT",
    kind: oneOf("json", "pretty"),
    otherwise: "`pretty` on a terminal, else `json`",
    example: "json",
    meaning: "Format of the log, on standard output"
  }
} as const satisfies Record<string, Setting>

/** All of them, under the headings of `.env.example`. */
export const settingGroups = {
  HTTP: http,
  Databases: databases,
  Files: files,
  Exports: exports,
  "Streams and downloads": streams,
  "Logs, on standard output": logs
}

export const settings = { ...http, ...databases, ...files, ...exports, ...streams, ...logs }
