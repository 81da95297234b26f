import { Schema } from "effect"
import { CsvFormat, csvContentType } from "./csv/csv-format.ts"

/** How a file is written. Each kind of format is a member of this union, with its own options. */
export const Format = Schema.Union(CsvFormat)
export type Format = typeof Format.Type

const writers: Readonly<Record<Format["kind"], "server" | "sluice">> = { csv: "server" }

/** Says who writes the rows of a file: the server, by COPY, or else Sluice, from the values that a cursor gives. */
export const writerOf = ({ kind }: Format) => writers[kind]

/** Returns the media type of a file. */
export const contentTypeOf = (format: Format): string => {
  switch (format.kind) {
    case "csv":
      return csvContentType(format)
  }
}

/** Returns what the name of a file ends in. */
export const extensionOf = (format: Format): string => {
  switch (format.kind) {
    case "csv":
      return format.type
  }
}
