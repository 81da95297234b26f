import { Duration, Effect } from "effect"
import postgres from "postgres"
import { limits } from "../limits.ts"

/** The key of the advisory lock for loading ("seed"), since several instances may start together. */
const SEED_LOCK = 0x73656564

const createTable = `
  create table public.users (
    id bigint not null, name text not null, email text not null, signup_date timestamptz not null,
    country_code char(2) not null, subscription_tier text not null, lifetime_value numeric(12,2) not null
  )`

const indexes = [
  "alter table public.users add primary key (id)",
  "create index users_country_code on public.users (country_code)",
  "create index users_subscription_tier on public.users (subscription_tier)",
  "create index users_lifetime_value on public.users (lifetime_value)"
]

/** Rows are a function of their number, so two loads are equal. 2654435761 is Knuth's multiplicative hash. */
const insertRows = `
  insert into public.users
  select i,
    (array['Ada','Alan','Grace','Linus','Margaret','Dennis','Barbara','Ken','Radia','Edsger','Hedy','Donald','Frances','John','Joan','Tim'])[1 + h % 16]
      || ' ' ||
    (array['Lovelace','Turing','Hopper','Torvalds','Hamilton','Ritchie','Liskov','Thompson','Perlman','Dijkstra','Lamarr','Knuth','Allen','Backus','Clarke','Lee'])[1 + (h / 16) % 16],
    'user' || i || '@example.com',
    timestamptz '2015-01-01 00:00:00+00' + make_interval(secs => h % 315360000),
    (array['US','UK','DE','FR','IN','BR','CA','AU','JP','ES'])[1 + (h / 256) % 10],
    (array['free','basic','premium','enterprise'])[1 + (h / 4096) % 4],
    (h % 1000000)::numeric / 100
  from (select i, (i * 2654435761) % 4294967296 as h from generate_series($1::bigint, $2::bigint) i) numbered`

/**
 * Loads `rows` demo users into `public.users` if the table is missing or empty, in one transaction, so that a failed load
 * leaves nothing. Returns the number of loaded rows.
 */
export const seedUsers = (url: string, rows: number) =>
  Effect.gen(function* () {
    const sql = yield* Effect.acquireRelease(
      Effect.sync(() =>
        postgres(url, { max: 1, max_lifetime: 0, onnotice: () => {}, connection: { application_name: "sluice seeds" } })
      ),
      (client) => Effect.promise(() => client.end({ timeout: 1 }))
    )
    const run = (text: string, values: Array<number> = []) => Effect.tryPromise(() => sql.unsafe(text, values))

    yield* run("begin")
    yield* run("select pg_advisory_xact_lock($1)", [SEED_LOCK])
    const [state] = yield* run("select to_regclass('public.users') is null as missing")
    if (state!["missing"]) yield* run(createTable)
    else if ((yield* run("select 1 from public.users limit 1")).length > 0) {
      yield* run("rollback")
      return 0
    }
    for (let first = 1; first <= rows; first += limits.seedBatchRows) {
      const last = Math.min(rows, first + limits.seedBatchRows - 1)
      yield* run(insertRows, [first, last])
      yield* Effect.logInfo("loading demo users").pipe(Effect.annotateLogs({ rows: last, of: rows }))
    }
    if (state!["missing"]) yield* Effect.forEach(indexes, (index) => run(index), { discard: true })
    yield* run("commit")
    // This gives the planner statistics, and sets hint bits now instead of in the first export.
    yield* run("vacuum analyze public.users")
    return rows
  }).pipe(
    Effect.scoped,
    Effect.timed,
    Effect.tap(([time, loaded]) =>
      loaded === 0
        ? Effect.logInfo("users has rows already; no demo data loaded")
        : Effect.logInfo("demo users loaded").pipe(Effect.annotateLogs({ rows: loaded, seconds: Duration.toSeconds(time) }))
    ),
    Effect.map(([, loaded]) => loaded)
  )
