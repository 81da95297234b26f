import { Effect, FiberSet, Option, type Scope } from "effect"
import type { Dataset } from "../datasets/dataset.ts"
import type { ExportSpec } from "../exports/export-spec.ts"
import { limits } from "../limits.ts"
import type { Admission } from "../source/admission.ts"
import { identifier, literal } from "../source/identifier.ts"
import type { SourceSession } from "../source/session.ts"
import { SourceError, sqlState, toSourceError } from "../source/source-error.ts"
import type { Statement } from "../source/statement.ts"
import type { ExportBytes } from "./export-bytes.ts"

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
 * Writes a query for the first row with a value that is not UTF-8. It returns the number of that value's column in the
 * export.
 */
const invalidStatement = ({ columns }: ExportSpec, { text, values }: Statement): Statement => {
  const names = columns.map((_, nth) => identifier(`c${nth}`))
  const found = names.map((name, nth) => `when ${isInvalid(name)} then ${nth}`).join(" ")
  return {
    text: `select case ${found} end as nth from (${text}) exported (${names.join(", ")}) where ${names.map(isInvalid).join(" or ")} limit 1`,
    values
  }
}

const RAW = ". With profile=postgres&encoding=raw the export has them as they are"

/** How to find the column that a failure is about. */
interface Search {
  readonly open: Effect.Effect<SourceSession, SourceError, Scope.Scope>
  readonly tryAcquire: Admission["tryAcquire"]
  /** An export may have `encoding=raw`, which is then recommended. */
  readonly hasRaw: boolean
}

/** Finds the column with the bytes that a failure is about. The rows are read again for this, for `invalidBytesMs` at most. */
const explain = (
  failure: SourceError,
  spec: ExportSpec,
  dataset: Dataset,
  statement: Statement,
  { open, tryAcquire, hasRaw }: Search
): Effect.Effect<SourceError> =>
  Effect.gen(function* () {
    const session = yield* open
    const query = <Row>(asked: Statement) => Effect.tryPromise({ try: () => session.query<Row>(asked), catch: toSourceError })
    const [server] = yield* query<{ readonly encoding: string }>({
      text: "select current_setting('server_encoding') as encoding",
      values: []
    })
    // The server converts from any other encoding, and its error says all there is to say.
    if (server!.encoding !== "SQL_ASCII") return failure
    yield* query({ text: `set local statement_timeout = ${limits.invalidBytesMs}`, values: [] })
    const [found] = yield* query<{ readonly nth: number }>(invalidStatement(spec, statement)).pipe(Effect.orElseSucceed(() => []))
    const column = found && spec.columns[found.nth]!.name
    const subject = column === undefined ? `A column of ${dataset.name}` : `The column "${column}"`
    const message = `${subject} holds bytes that are not UTF-8, and the encoding of the database, SQL_ASCII, does not say what they are${hasRaw ? RAW : ""}`
    return new SourceError({ message, retryable: false, cause: failure.cause })
  }).pipe(
    Effect.scoped,
    Effect.timeout(limits.invalidBytesMs + limits.sourceConnectMs),
    tryAcquire,
    Effect.map(Option.getOrElse(() => failure)),
    Effect.orElseSucceed(() => failure)
  )

/** Replaces a failure over bytes that are not UTF-8 by the one that `explain` returns. */
class ExplainedBytes implements ExportBytes {
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

/** Makes a failure of `bytes` name the column whose bytes are not UTF-8. The scope owns the search for it. */
export const explainInvalidBytes = (
  bytes: ExportBytes,
  spec: ExportSpec,
  dataset: Dataset,
  statement: Statement,
  search: Search
): Effect.Effect<ExportBytes, never, Scope.Scope> =>
  Effect.map(
    FiberSet.makeRuntimePromise(),
    (run) => new ExplainedBytes(bytes, (failure) => run(explain(failure, spec, dataset, statement, search)))
  )
