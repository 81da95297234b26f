import { crc32 } from "node:zlib"
import { Effect } from "effect"
import { limits } from "../../limits.ts"
import { StorageError, type FileReader, type StoredFile } from "../../storage/export-storage.ts"

const damaged = (what: string) =>
  Effect.fail(new StorageError({ message: `Cannot read the export: its file ${what}`, reason: "damaged" }))

/**
 * Reads a stored file, one chunk in each run; a chunk is valid until the next run. The bytes are compared with what was
 * written while they pass. If they differ, the run that would have reported the end fails instead, so that a client sees
 * a broken body.
 */
export const checkedChunks = (file: FileReader, written: StoredFile): Effect.Effect<Uint8Array | undefined, StorageError> => {
  const buffer = Buffer.allocUnsafeSlow(limits.readBytes)
  let position = 0
  let crc = 0
  const end = Effect.suspend(() => {
    const found = crc.toString(16).padStart(8, "0")
    return found === written.crc32 ? Effect.void : damaged(`has the CRC-32 ${found} instead of ${written.crc32}`)
  })
  const read = Effect.tryPromise({ try: () => file.read(buffer, position), catch: (cause) => cause as StorageError })
  return Effect.suspend(() => {
    if (position === written.bytes) return Effect.as(end, undefined)
    return Effect.flatMap(read, (bytes) => {
      if (bytes === 0) return damaged(`ended at ${position} of ${written.bytes} bytes`)
      const chunk = buffer.subarray(0, bytes)
      position += bytes
      crc = crc32(chunk, crc)
      return Effect.succeed(chunk)
    })
  })
}
