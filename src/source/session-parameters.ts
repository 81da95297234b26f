import { limits } from "../limits.ts"

/** The settings that a session on the source database starts with. */
export const sessionParameters = {
  application_name: "sluice source",
  TimeZone: "UTC",
  DateStyle: "ISO",
  bytea_output: "hex",
  // The settings of a role or of a database might lose digits or days.
  IntervalStyle: "postgres",
  extra_float_digits: "1",
  // An export may take hours and its client may pause: the service bounds both itself.
  // As text: postgres.js leaves a number 0 out.
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  lock_timeout: limits.sourceLockMs,
  // Literals are written for this setting.
  standard_conforming_strings: "on",
  // Compiling costs more than it gives before the first row.
  jit: "off",
  // Rows come in one order however they are read: no scan starts in the middle, and none is done by several processes,
  // whose number EXPORT_PARALLELISM bounds.
  synchronize_seqscans: "off",
  max_parallel_workers_per_gather: "0"
}
