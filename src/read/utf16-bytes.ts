import type { ExportBytes } from "./export-bytes.ts"
import { SourceError } from "../source/source-error.ts"

/** Converts bytes in UTF-8 to UTF-16LE. A character may be split between two chunks. */
export class Utf16Bytes implements ExportBytes {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

  constructor(private readonly utf8: ExportBytes) {}

  get rows(): number {
    return this.utf8.rows
  }

  get estimatedRows(): number {
    return this.utf8.estimatedRows
  }

  async next(): Promise<Uint8Array | undefined> {
    for (let chunk; (chunk = await this.utf8.next());) {
      const text = this.#decode(chunk)
      this.utf8.recycle(chunk)
      if (text !== "") return Buffer.from(text, "utf16le")
    }
    // Fails if the last character is cut off.
    this.#decode()
    return undefined
  }

  #decode(chunk?: Uint8Array): string {
    try {
      return this.#decoder.decode(chunk, { stream: chunk !== undefined })
    } catch (cause) {
      throw new SourceError({ message: "Cannot read: the database sent text that is not UTF-8", retryable: false, cause })
    }
  }

  /** Does nothing: each chunk is a new one. */
  recycle(): void {}
}
