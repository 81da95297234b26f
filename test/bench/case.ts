/** What is measured: one export of the whole table in one way, by processes of its own. */
import { Data, type Effect, type Scope } from "effect"

/** Nothing can be measured; the message is for whoever runs the bench. */
export class BenchError extends Data.TaggedError("BenchError")<{ readonly message: string }> {}

export const toBenchError = (what: string) => (cause: unknown) =>
  cause instanceof BenchError ? cause : new BenchError({ message: `Cannot ${what}: ${(cause as Error).message}` })

/** CPU and memory are of the process in question: a program's own, or the server's that is asked; never PostgreSQL's. */
export interface Measurement {
  /** To the last byte: of psql and curl their whole run, of programs from connecting on, of a job from its POST on. */
  readonly seconds: number
  readonly rows: number
  /** As they came over the wire: those of a coded answer are fewer than its rows have. */
  readonly bytes: number
  /** User and system time: of a program from its start on, of a server during the measurement. */
  readonly cpuSeconds: number
  /** Highest resident memory since the process began, in 10^6 bytes. */
  readonly peakMb: number
  /** From connecting to the first byte of a stream's answer. */
  readonly firstByteMs?: number
}

/** What a measured program prints, as JSON. */
export type Printed = Pick<Measurement, "seconds" | "rows" | "bytes">

/** An export that services on this storage offer, and its file. */
export interface FinishedExport {
  readonly id: string
  /** Below the storage. */
  readonly fileName: string
}

/** What all cases share. */
export interface Bench {
  /** The database, with a table of `rows` users. */
  readonly url: string
  readonly rows: number
  /** Of the whole table, as COPY writes it. */
  readonly bytes: number
  /** For what is built and written; it goes with the bench. */
  readonly directory: string
  /** Where services keep their exports. */
  readonly storage: string
  /** The bundle of rows-program.ts, built when first asked for. */
  readonly rowsProgram: Effect.Effect<string, BenchError>
  /** Made when first asked for. */
  readonly finishedExport: Effect.Effect<FinishedExport, BenchError>
}

export interface Case {
  readonly name: string
  /** Its bytes are not those of COPY: they are coded, or CSV of another kind. */
  readonly otherBytes?: boolean
  /** Whatever it starts ends with the scope. */
  readonly run: (bench: Bench) => Effect.Effect<Measurement, BenchError, Scope.Scope>
}
