import { type Statement } from "../source/statement.ts"
import { Effect, FiberSet, Option, type Scope } from "effect"
import { limits } from "../limits.ts"
import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import type { ExportBytes, CsvLayout } from "./export-bytes.ts"
import type { Connections } from "../source/admission.ts"
import { identifier, literal } from "../source/identifier.ts"
import type { SourceSession } from "../source/session.ts"
import { SourceError, sqlState, toSourceError } from "../source/source-error.ts"
import { selectStatement } from "./sql/statement.ts"

/**
 * Returns the database's own encoding and the header in it. The session stays in UTF-8, in which statements are sent;
 * COPY has an option for the encoding of its output.
 */
export const rawLayout = async (
  connection: SourceSession,
  shape: CsvLayout
): Promise<CsvLayout & { readonly encoding: string }> => {
  const [row] = await connection.query<{ readonly encoding: string; readonly header: ReadonlyArray<string> }>({
    text: `
      select current_setting('server_encoding') as encoding, coalesce((
        select json_agg(encode(convert_to(title, current_setting('server_encoding')), 'hex') order by ordinality)
        from json_array_elements_text($1::text::json) with ordinality titles (title, ordinality)
      ), '[]') as header`,
    values: [JSON.stringify(shape.header ?? [])]
  })
  const { encoding, header } = row!
  return { ...shape, encoding, header: shape.header && header.map((title) => Buffer.from(title, "hex")) }
}

const INVALID_BYTES = "22021"

/** Matches text in UTF-8 byte by byte (RFC 3629 §4), for a database whose characters are bytes. */
const CONTINUED = "[\\u0080-\\u00bf]"
const VALID = `^(${[
  "[\\u0001-\\u007f]",
  `[\\u00c2-\\u00df]${CONTINUED}`,
  `\\u00e0[\\u00a0-\\u00bf]${CONTINUED}`,
  `[\\u00e1-\\u00ec\\u00ee\\u00ef]${CONTINUED}{2}`,
  `\\u00ed[\\u0080-\\u009f]${CONTINUED}`,
  `\\u00f0[\\u0090-\\u00bf]${CONTINUED}{2}`,
  `[\\u00f1-\\u00f3]${CONTINUED}{3}`,
  `\\u00f4[\\u0080-\\u008f]${CONTINUED}{2}`
].join("|")})*$`

const isInvalid = (name: string) => `${name}::text !~ ${literal(VALID)}`

/**
 * Writes a query for the first row with a value that is not UTF-8; it returns the number of that value's column in the
 * export.
 */
const invalidStatement = (spec: ExportSpec, dataset: Dataset): Statement => {
  const { text, values } = selectStatement(spec, dataset)
  const names = spec.columns.map((_, nth) => identifier(`c${nth}`))
  const found = names.map((name, nth) => `when ${isInvalid(name)} then ${nth}`).join(" ")
  return {
    text: `select case ${found} end as nth from (${text}) exported (${names.join(", ")}) where ${names.map(isInvalid).join(" or ")} limit 1`,
    values
  }
}

const RAW = ". With profile=postgres&encoding=raw the export has them as they are"

/** How to find the column that a failure is about. */
interface Search {
  readonly connect: Effect.Effect<SourceSession, SourceError, Scope.Scope>
  /** Runs an effect that takes a source connection, if one is free at once. */
  readonly spare: Connections["spare"]
  /** Whether an export may have `encoding=raw`, which is then recommended. */
  readonly hasRaw: boolean
}

/** Finds the column with the bytes that a failure is about. The rows are read again for this, for `invalidBytesMs` at most. */
const explain = (
  failure: SourceError,
  spec: ExportSpec,
  dataset: Dataset,
  { connect, spare, hasRaw }: Search
): Effect.Effect<SourceError> =>
  Effect.gen(function* () {
    const connection = yield* connect
    const ask = <Row>(statement: Statement) =>
      Effect.tryPromise({ try: () => connection.query<Row>(statement), catch: toSourceError })
    const [server] = yield* ask<{ readonly encoding: string }>({
      text: "select current_setting('server_encoding') as encoding",
      values: []
    })
    // From any other encoding the server converts, and its error says all there is to say.
    if (server!.encoding !== "SQL_ASCII") return failure
    yield* ask({ text: `set local statement_timeout = ${limits.invalidBytesMs}`, values: [] })
    const [found] = yield* ask<{ readonly nth: number }>(invalidStatement(spec, dataset)).pipe(Effect.orElseSucceed(() => []))
    const column = found && spec.columns[found.nth]!.name
    const subject = column === undefined ? `A column of ${dataset.name}` : `The column "${column}"`
    const message = `${subject} holds bytes that are not UTF-8, and the encoding of the database, SQL_ASCII, does not say what they are${hasRaw ? RAW : ""}`
    return new SourceError({ message, retryable: false, cause: failure.cause })
  }).pipe(
    Effect.scoped,
    Effect.timeout(limits.invalidBytesMs + limits.sourceConnectMs),
    spare,
    Effect.map(Option.getOrElse(() => failure)),
    Effect.orElseSucceed(() => failure)
  )

/** Rows that replace a failure over bytes that are not UTF-8 by the one that `explain` returns. */
class ExplainedRows implements ExportBytes {
  constructor(
    private readonly inner: ExportBytes,
    private readonly toExplained: (failure: SourceError) => Promise<SourceError>
  ) {}

  get rows(): number {
    return this.inner.rows
  }

  get estimatedRows(): number {
    return this.inner.estimatedRows
  }

  next(): Promise<Uint8Array | undefined> {
    return this.inner.next().catch(async (cause: unknown) => {
      throw cause instanceof SourceError && sqlState(cause) === INVALID_BYTES ? await this.toExplained(cause) : cause
    })
  }

  recycle(chunk: Uint8Array): void {
    this.inner.recycle(chunk)
  }
}

/** Makes rows name the column whose bytes are not UTF-8. The scope owns the search for it. */
export const explaining = (
  spec: ExportSpec,
  dataset: Dataset,
  search: Search
): Effect.Effect<(rows: ExportBytes) => ExportBytes, never, Scope.Scope> =>
  Effect.map(
    FiberSet.makeRuntimePromise(),
    (run) => (rows) => new ExplainedRows(rows, (failure) => run(explain(failure, spec, dataset, search)))
  )
