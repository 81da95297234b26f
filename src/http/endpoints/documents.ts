/** The JSON of answers. The encoder of an answer and its description in /openapi.json are both made from these schemas. */
import { Schema } from "effect"
import { Order } from "../../datasets/filters/conditions.ts"
import { operators } from "../../datasets/filters/operators.ts"
import { described } from "../../exports/parameter-values.ts"

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })

const Time = Schema.Date.annotations({
  description: "A time in UTC.",
  jsonSchema: { type: "string", format: "date-time", description: "A time in UTC." }
})
const TimeOrNull = Schema.NullOr(Time)
const Count = Schema.NonNegativeInt.annotations({ jsonSchema: { type: "integer", minimum: 0 } })
const Path = described(
  Schema.String.annotations({ jsonSchema: { type: "string", format: "uri-reference" } }),
  "A path on this service."
)

export const ExportId = Schema.String.annotations({
  description: "The id of an export.",
  jsonSchema: { type: "string", format: "uuid" },
  examples: ["550e8400-e29b-41d4-a716-446655440000"]
})

const FieldProblem = Schema.Struct({
  field: described(Schema.String, "The parameter or member that is wrong."),
  detail: described(Schema.String, "What is wrong with it, and what is allowed.")
}).annotations({ identifier: "FieldProblem", description: "What is wrong with one field of a request." })
export type FieldProblem = typeof FieldProblem.Type

export const ProblemDocument = Schema.Struct({
  type: Schema.String.annotations({
    description: "Which kind of problem it is. It is stable: branch on it, never on sentences.",
    jsonSchema: { type: "string", format: "uri" }
  }),
  title: described(Schema.String, "The name of the status."),
  status: Schema.Int.annotations({ jsonSchema: { type: "integer", minimum: 400, maximum: 599 } }),
  detail: described(Schema.String, "What happened, with which value, and what is allowed."),
  instance: described(Schema.String, "The path of the request."),
  errors: Schema.Array(FieldProblem).annotations({
    description:
      "An entry for each wrong field. If there are too many, the last one, with the field `*`, says how many are not listed."
  }),
  error: described(Schema.String, "For clients of the older API: a short sentence.")
}).annotations({ identifier: "Problem", description: "A problem document (RFC 9457)." })

export const ExportAccepted = Schema.Struct({ exportId: ExportId, status: Schema.Literal("pending") }).annotations({
  identifier: "ExportAccepted",
  description: "The export is queued."
})

export const ExportDocument = Schema.Struct({
  exportId: ExportId,
  dataset: Schema.String,
  status: Schema.Literal("pending", "processing", "completed", "failed", "cancelled", "expired"),
  progress: Schema.Struct({
    totalRows: described(Schema.NullOr(Count), "The number of rows: the planner's estimate until the export is completed."),
    totalRowsExact: described(Schema.Boolean, "Whether `totalRows` is exact."),
    processedRows: Count,
    percentage: Schema.Int.annotations({
      description: "It never falls, and is 100 only when the export is completed.",
      jsonSchema: { type: "integer", minimum: 0, maximum: 100 }
    })
  }),
  error: described(Schema.NullOr(Schema.String), "Why the export failed."),
  waiting: described(Schema.NullOr(Schema.String), "What the export waits for: a source database that cannot be reached."),
  createdAt: Time,
  startedAt: TimeOrNull,
  completedAt: TimeOrNull,
  expiresAt: described(TimeOrNull, "When the file is removed."),
  bytes: described(Schema.NullOr(Count), "The length of the file."),
  crc32: Schema.NullOr(Schema.String.annotations({ jsonSchema: { type: "string", pattern: "^[0-9a-f]{8}$" } })).annotations({
    description: "The CRC-32 of the whole file, once it is completed."
  }),
  truncated: described(
    Schema.Boolean,
    "Whether a limit of the operator left rows out of the file. A `total` of the request is none."
  ),
  truncatedBy: described(
    // A newer instance may have stored a limit that this one does not know.
    Schema.NullOr(Schema.String.annotations({ examples: ["maxRows"] })),
    "The limit that left rows out: `maxRows`. Further limits may come."
  ),
  links: Schema.Struct({ self: Path, events: Path, download: optional(described(Path, "Given while there is a file.")) })
}).annotations({ identifier: "Export", description: "An export and its progress." })
export type ExportDocument = typeof ExportDocument.Type

export const ExportList = Schema.Struct({
  exports: Schema.Array(ExportDocument),
  nextCursor: described(Schema.NullOr(Schema.String), "The `cursor` of the next page; null on the last one."),
  links: optional(Schema.Struct({ next: Path }))
}).annotations({ identifier: "ExportList", description: "A page of exports, newest first." })

const estimated = (description: string) =>
  Schema.Struct({
    value: Schema.Number,
    basis: described(Schema.String, "What the number rests on.")
  }).annotations({ description })

export const Estimate = Schema.Struct({
  dataset: Schema.String,
  rows: estimated("The number of rows."),
  bytes: estimated("The length of the file."),
  seconds: estimated("How long the export would run."),
  plan: Schema.Struct({
    source: described(Schema.String, "How rows are read: by COPY or by a cursor."),
    parts: Count,
    connections: described(Count, "How many connections to the source database the export would use at most."),
    reason: Schema.NullOr(Schema.String).annotations({ description: "Why the export is read as one part, if it is." })
  }),
  limits: Schema.Struct({
    rows: described(Schema.NullOr(Count), "The most rows that the export has."),
    concurrentExports: Count,
    secondsKept: described(Schema.Number, "How long a finished export is kept.")
  })
}).annotations({ identifier: "Estimate", description: "What an export would be." })

const datasetSummary = {
  name: Schema.String,
  kind: Schema.Literal("table", "partitioned table", "foreign table", "view", "materialized view"),
  comment: Schema.NullOr(Schema.String),
  estimatedRows: described(Schema.NullOr(Schema.Number), "By the server's statistics."),
  estimatedBytes: described(Schema.NullOr(Schema.Number), "By the server's statistics."),
  links: Schema.Struct({ self: Path, stream: Path })
}

export const DatasetList = Schema.Struct({
  datasets: Schema.Array(Schema.Struct(datasetSummary).annotations({ identifier: "DatasetSummary", description: "A dataset." }))
}).annotations({ identifier: "DatasetList", description: "What may be exported." })

export const DatasetDocument = Schema.Struct({
  ...datasetSummary,
  columns: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      type: described(Schema.String, "As PostgreSQL writes it."),
      nullable: Schema.Boolean,
      comment: Schema.NullOr(Schema.String),
      label: described(Schema.String, "What a header with labels calls the column."),
      operators: described(Schema.Array(Schema.Literal(...operators)), "How it may be filtered; empty: it may not.")
    }).annotations({ identifier: "Column", description: "A column of a dataset." })
  ),
  key: described(Schema.Array(Schema.String), "The columns of the primary key."),
  order: described(
    Schema.Array(Order.annotations({ identifier: "Order", description: "A column to sort by." })),
    "The order of an export that names none."
  ),
  maxRows: described(Schema.NullOr(Schema.Int), "The most rows that an export has."),
  parameters: described(Schema.Array(Schema.String), "Parameters that only this dataset has.")
}).annotations({ identifier: "Dataset", description: "A dataset with its columns." })

export const Health = Schema.Struct({ status: Schema.Literal("ok") }).annotations({
  identifier: "Health",
  description: "The process lives."
})

export const Readiness = Schema.Struct({
  status: Schema.Literal("ready"),
  degraded: optional(described(Schema.Array(FieldProblem), "What works only in part: an export cannot be stored."))
}).annotations({ identifier: "Readiness", description: "The databases and the storage answer." })

const AnyObject = Schema.Object.annotations({ jsonSchema: { type: "object" } })
export const OpenApiDocument = Schema.Struct({ openapi: Schema.String, info: AnyObject, paths: AnyObject }).annotations({
  identifier: "OpenApiDocument",
  description: "A description of an API (OpenAPI 3.1)."
})
