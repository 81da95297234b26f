/** Bounds that are no settings. Each wait, queue, body and buffer of the service has one, and its name is here. */
export const limits = {
  /** Characters of path and query; a longer URL is answered with 414. */
  urlChars: 16_384,
  /** Bytes of a request body; the parameters of an export need a few hundred. */
  bodyBytes: 65_536,
  /** The time that a body may take to arrive. */
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
  /**
   * Filterable columns that /openapi.json describes, over all datasets, and how many a dataset counts as at least. A
   * thousand described datasets would take hundreds of MB.
   */
  describedColumns: 2_000,
  describedLeastColumns: 10,
  /** Wrong fields of one request that an answer lists; of further ones it says how many there are. */
  wrongFields: 100,
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
  /** Cancellations that reached this instance and that it has not acted on yet. */
  cancelBacklog: 1_024,
  /** Shortest time between two events of one stream: at most 5 a second. */
  eventGapMs: 200,
  /** Bodies that are compressed on the fly at once; further ones are sent uncompressed. */
  compressedBodies: 16,
  /** Connections of clients at once; beyond this limit those that have been quiet longest are closed. */
  connections: 1_024,
  /** The interval at which the connections of clients are examined. */
  connectionSweepMs: 1_000,
  /** The time that the first request of a connection may take to arrive. */
  requestHeadMs: 20_000,
  /**
   * Longest time between an answer and the next request. Proxies commonly keep a connection for less, so they close it
   * first.
   */
  clientIdleMs: 75_000,
  /** A response is aborted when its client takes no byte for this long. */
  clientStallMs: 255_000,
  /** Bun's idle timeout, at its maximum; used where sockets cannot be asked. */
  idleSeconds: 255,
  /** A direct stream waits this long for a session on the source, then it is answered with 503. */
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
  /** The time for which a query on the source waits for a table lock. */
  sourceLockMs: 30_000,
  /** The interval at which the source checks whether its client is still there. */
  sourceCheckMs: 500,
  /** Bytes of one batched read of a socket on which a COPY arrives. */
  batchedReadBytes: 262_144,
  /** The pause between two batched reads, in which more arrives. */
  batchedReadMs: 2,
  /** After a read of fewer bytes, events report when more has arrived. */
  batchedReadLeastBytes: 4_096,
  /** Bytes that wait to be emitted next, before the session that reads them is paused. */
  readAheadBytes: 262_144,
  /**
   * Bytes of CSV that a part of a split table should have: enough that the cost of its statement does not count, and few
   * enough that progress moves and that reading the part again is cheap. The pages of a part are bounded, too, since a
   * filter may leave few rows of them.
   */
  partBytes: 1536 * 1024,
  partPages: 8_192,
  /** A reader sends the COPY of its next part when this share of a part has arrived, so that the server never waits. */
  pipelineShare: 0.75,
  /** Bytes that a further reader may buffer; must exceed `partBytes`. STREAM_LOOKAHEAD bounds the number of further readers. */
  extraReaderBytes: 2 * 1024 * 1024,
  /** Parts of one export that are begun and not yet emitted. Each holds the memory of a chunk, however few bytes arrived. */
  openParts: 16,
  /** The time for which a further reader waits for a table lock. */
  extraReaderLockMs: 100,
  /** The interval at which a further reader is supervised, and the share of it for which the reader may be paused. */
  readerReviewMs: 2_000,
  readerPausedShare: 0.9,
  /** A further reader is stopped when all wait for its part and nothing has arrived for this long: its server may hang. */
  readerSilentMs: 30_000,
  /** A further reader comes back after this pause, which doubles each time up to `readerReturnMaxMs`. */
  readerReturnMs: 1_000,
  readerReturnMaxMs: 60_000,
  /** The interval at which the datasets are read from the source, and the pause after they could not be read. */
  datasetsRefreshMs: 60_000,
  datasetsRetryMs: 1_000,
  /** How long the search for the column with bytes that are not UTF-8 may take after an export failed because of them. */
  invalidBytesMs: 5_000,
  /** Datasets whose decoders of parameters are kept. */
  parameterSchemas: 16,
  /** Requests whose filter values the source checks at once. */
  castSessions: 4,
  appConnections: 4,
  queueConnections: 3,
  appConnectSeconds: 5,
  /** The pause before a lost connection to the app database is opened again. */
  appReconnectSeconds: 0.25,
  appStatementMs: 15_000,
  /** Pause of a job before it tries to reach its source again; it doubles each time, up to `sourcePauseMaxMs`. */
  sourcePauseMs: 500,
  sourcePauseMaxMs: 5_000,
  /** The number of times that a job may lose its source while it reads. */
  sourceLosses: 10,
  /** The interval at which a lasting outage is logged. */
  outageLogMs: 60_000,
  /** Retries of a job whose source failed, and the longest wait before one. */
  jobRetries: 3,
  jobRetryDelaySeconds: 1,
  jobRetryDelayMaxSeconds: 30,
  /** A worker without a heartbeat for this long counts as dead, and its job is delivered again (pg-boss allows no less than 10). */
  jobHeartbeatSeconds: 10,
  queueSuperviseSeconds: 3,
  /** The pause before the queue's database is tried again. */
  queueLookMs: 1_000,
  /** How long interrupted jobs may take to reach the queue while the service stops, and how long any client to close. */
  queueStopMs: 1_500,
  closeMs: 3_000,
  /** The time to return a job while the service stops. If it is not enough, others find out by the missing heartbeat. */
  releaseMs: 2_000,
  /** The time that the migrations, and the start of the queue, may take. */
  migrateMs: 60_000,
  /** Attempts of one job during which the process died; the job may be the cause. */
  jobCrashes: 5,
  /** Deliveries of one job, crashes and restarts included. */
  jobDeliveries: 50,
  /** The queue delivers a job again after this. pg-boss allows no more than 24 hours. */
  jobMaxSeconds: 24 * 3600,
  /** The longest SOURCE_OUTAGE: half of `jobMaxSeconds`, so that a job that has waited can still read its rows. */
  sourceOutageMax: "12 hours",
  progressGapMs: 250,
  /** The time for which the write that ends a job is retried while the app database is away, and the longest pause between. */
  persistMs: 900_000,
  persistGapMs: 2_000,
  /** Bytes of a block that is written to a file at once; a file has two. */
  writeBytes: 1024 * 1024,
  /** Bytes of a file after which the disk is asked to take them. */
  syncBytes: 32 * 1024 * 1024,
  /** Bytes written between two checks of the free space, and the bytes that must stay free. */
  spaceCheckBytes: 16 * 1024 * 1024,
  spaceReserveBytes: 64 * 1024 * 1024,
  /** Bytes per read of a stored file. */
  readBytes: 262_144,
  sweepMs: 30_000,
  /** Ended exports whose files one sweep removes. */
  sweepExports: 1_000,
  /** How often the whole storage is listed, for files that no export needs. */
  storageSweepMs: 3_600_000,
  /** The days for which a finished export stays listed after its file is gone. */
  historyDays: 7,
  /** Earlier exports of a dataset that an estimate is based on. */
  estimateExports: 20,
  /** Files that the list of exports checks for at once. */
  fileLooks: 16,
  pageDefault: 50,
  pageMax: 200,
  /** The time that requests and jobs in flight get on SIGTERM. Container runtimes kill after 10 s. */
  drainMs: 8_000,
  /** The grace period in which aborted responses send a reset or their error line. */
  abortGraceMs: 500,
  readyCheckMs: 3_000,
  /** One check of the databases and the storage answers all requests for this long. */
  readyShareMs: 500,
  /** The time for which a database may be away at start. */
  startMs: 30_000,
  seedBatchRows: 250_000
} as const

// A test that would have to wait for a limit sets another one before the service is loaded (`test/support/limits.ts`).
Object.assign(limits, (globalThis as { sluiceLimits?: object }).sluiceLimits)
