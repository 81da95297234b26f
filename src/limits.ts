/** Bounds that are not settings: each wait, queue, body and buffer of the service has one, and its name is here. */
export const limits = {
  /** Characters of path and query that are read; longer is 414. */
  urlChars: 16_384,
  /** Bytes of a request body; an export's parameters need a few hundred. */
  bodyBytes: 65_536,
  /** How long a body may take to arrive. */
  bodyMs: 10_000,
  /**
   * Bytes of all bodies that are arriving. Each counts as `bodyLeastBytes` at least, which is about what a request takes
   * otherwise. Beyond this limit the oldest gives way.
   */
  bodiesBytes: 4 * 1024 * 1024,
  bodyLeastBytes: 16_384,
  /** Bytes of complete bodies that are worked on at once, of those that wait for that, and how long one may wait. */
  bodyWorkBytes: 512 * 1024,
  bodyWaitBytes: 5 * 1024 * 1024,
  bodyWaitMs: 15_000,
  /** Values in all filters of a request together. */
  filterValues: 1_000,
  /** Filters of a request, with each `or` and `and` counted as one, and how deep these may be nested. */
  filterNodes: 100,
  filterDepth: 8,
  /** Digits of a number in a filter; the server would write out all of `1e131071`. */
  numberDigits: 400,
  /** Characters of an API key. */
  apiKeyChars: 256,
  /** Requests remembered by the rate limiter, over all keys. Past it the key that was quiet longest is forgotten. */
  rateLimitEntries: 32_768,
  /** How many times RATE_LIMIT_MAX requests with refused filters one key may send in a window. */
  filterChecksPerRequest: 10,
  /**
   * How long a stream waits for its turn while its key or address has as many streams as it may have, and how many may
   * wait.
   */
  streamTurnMs: 5_000,
  streamQueue: 256,
  /** Streams that all keys of one address may have at once beyond those of a single key, since anyone can make up keys. */
  addressStreams: 16,
  /** Server-Sent Event streams at once. */
  eventStreams: 256,
  eventKeepAliveMs: 5_000,
  /** Cancellations told to this instance and not yet acted on. */
  cancelBacklog: 1_024,
  /** Shortest time between two events of one stream: at most 5 a second. */
  eventGapMs: 200,
  /** Bodies that are compressed on the fly at once; further ones are sent uncompressed. */
  compressedBodies: 16,
  /** Connections of clients at once; beyond this limit those that have been quiet longest are closed. */
  connections: 1_024,
  /** How often the connections of clients are examined. */
  connectionSweepMs: 1_000,
  /** How long the first request of a connection may take to arrive. */
  requestHeadMs: 20_000,
  /**
   * Longest time between an answer and the next request. Proxies commonly keep a connection for less, so they close it
   * first.
   */
  clientIdleMs: 75_000,
  /** A client that takes no byte of what it is sent for this long is broken off. */
  clientStallMs: 255_000,
  /** Bun's idle timeout, at its maximum; used where sockets cannot be asked. */
  idleSeconds: 255,
  /** Wait of a direct stream for a free source connection before 503. */
  streamAdmissionMs: 5_000,
  sourceConnectMs: 10_000,
  /** Bytes of the source's answer to a short statement, such as a plan; a longer answer ends the session. */
  answerBytes: 8 * 1024 * 1024,
  /** Largest answer of the catalog query; its size depends on the operator alone. */
  catalogBytes: 64 * 1024 * 1024,
  /**
   * Bytes that the filters of an export may add to its plan, which repeats them for each partition. With more, the export
   * is planned without them.
   */
  planBytes: 2 * 1024 * 1024,
  /** Wait of a source query for a table lock. */
  sourceLockMs: 30_000,
  /** The server looks this often whether its client is still there. */
  sourceCheckMs: 500,
  /** Most bytes of one read of a socket that a COPY comes by. */
  batchedReadBytes: 262_144,
  /** Pause between two such reads, for more to come. */
  batchedReadMs: 2,
  /** A read of fewer is not followed by another: events tell when there is more. */
  batchedReadLeastBytes: 4_096,
  /** Bytes that wait to be taken, of what an export's client or file needs next, before the source is paused. */
  readAheadBytes: 262_144,
  /**
   * CSV that a part of a split table should make: enough that the statement for it does not count, little enough that
   * progress moves and reading it again is cheap. And the pages it reads at most, where a filter leaves little of them.
   */
  partBytes: 1536 * 1024,
  partPages: 8_192,
  /** A reader asks for its next part when this share of a part has come, so that the server never waits for it. */
  pipelineShare: 0.75,
  /** Bytes that each helping connection lets wait in memory: more than a part has. `STREAM_LOOKAHEAD` bounds how many help at once. */
  extraReaderBytes: 2 * 1024 * 1024,
  /** Parts of one export that are begun and not yet handed on; each holds a chunk's memory, however little came of it. */
  openParts: 16,
  /** Wait of a helper for a table lock. */
  extraReaderLockMs: 100,
  /** How often it is looked whether a helper is of use, and the share of that time that it may be held up. */
  readerReviewMs: 2_000,
  readerPausedShare: 0.9,
  /** A helper that brings nothing for this long, where its part is what is waited for, is given up: its server may hang. */
  readerSilentMs: 30_000,
  /** After this a helper that left, or was not to be had, is tried again; twice as long each time, up to `readerReturnMaxMs`. */
  readerReturnMs: 1_000,
  readerReturnMaxMs: 60_000,
  /** How often what may be exported is read from the source database, and how soon again when it could not be. */
  datasetsRefreshMs: 60_000,
  datasetsRetryMs: 1_000,
  /** How long the search for the column with bytes that are not UTF-8 may take after an export failed because of them. */
  invalidBytesMs: 5_000,
  /** Requests whose filters the source database looks at, at once. */
  castConnections: 4,
  appConnections: 4,
  queueConnections: 3,
  appConnectSeconds: 5,
  /** Pause before a lost connection is opened again. */
  appReconnectSeconds: 0.25,
  appStatementMs: 15_000,
  /** Pause of a job before it tries to reach its source again; it doubles each time, up to `sourcePauseMaxMs`. */
  sourcePauseMs: 500,
  sourcePauseMaxMs: 5_000,
  /** How many times a job may lose its source while it reads. */
  sourceLosses: 10,
  /** How often an outage that lasts is logged. */
  outageLogMs: 60_000,
  /** Retries of a job whose source failed, and the longest wait before one. */
  jobRetries: 3,
  jobRetryDelaySeconds: 1,
  jobRetryDelayMaxSeconds: 30,
  /** A worker that is silent this long is taken for dead and its job is handed out again (10 is the queue's least). */
  jobHeartbeatSeconds: 10,
  queueSuperviseSeconds: 3,
  /** How often the queue's database is tried after it failed. */
  queueLookMs: 1_000,
  /** How long interrupted jobs may take to reach the queue while the service stops, and how long any client to close. */
  queueStopMs: 1_500,
  closeMs: 3_000,
  /** How long giving a job back may take while the service stops; its heartbeat tells others later anyway. */
  releaseMs: 2_000,
  /** How long migrations, and the start of the queue, may take. */
  migrateMs: 60_000,
  /** Attempts of one job during which the process died; the job may be the cause. */
  jobCrashes: 5,
  /** Deliveries of one job, crashes and restarts included. */
  jobDeliveries: 50,
  /** After this the queue hands a delivery out again. pg-boss allows no more than 24 hours. */
  jobMaxSeconds: 24 * 3600,
  /** The longest SOURCE_OUTAGE: half of `jobMaxSeconds`, so that a job that has waited can still read its rows. */
  sourceOutageMax: "12 hours",
  progressGapMs: 250,
  /** How long, and at most how far apart, the write that ends a job is tried while the database is away. */
  persistMs: 900_000,
  persistGapMs: 2_000,
  /** Bytes of a block that is written to a file at once; a file has two. */
  writeBytes: 1024 * 1024,
  /** Bytes of a file after which the disk is asked to take them. */
  syncBytes: 32 * 1024 * 1024,
  /** Bytes between two looks at the free space, and what must stay free. */
  spaceCheckBytes: 16 * 1024 * 1024,
  spaceReserveBytes: 64 * 1024 * 1024,
  /** Bytes per read of a stored file. */
  readBytes: 262_144,
  sweepMs: 30_000,
  /** Finished exports stay listed this long after their file is gone. */
  historyDays: 7,
  /** Earlier exports of a dataset that an estimate looks at. */
  estimateExports: 20,
  /** Files that the list of exports looks for at once. */
  fileLooks: 16,
  pageDefault: 50,
  pageMax: 200,
  /** Time that requests and jobs in flight get on SIGTERM. Container runtimes kill after 10 s. */
  drainMs: 8_000,
  /** And what then is broken off, for its last words. */
  abortGraceMs: 500,
  readyCheckMs: 3_000,
  /** One look at the databases and the storage answers everybody for this long. */
  readyShareMs: 500,
  /** How long a database may be away at start. */
  startMs: 30_000,
  seedBatchRows: 250_000
} as const

// A test that would have to wait for a limit sets another one before the service is loaded (`test/support/limits.ts`).
Object.assign(limits, (globalThis as { sluiceLimits?: object }).sluiceLimits)
