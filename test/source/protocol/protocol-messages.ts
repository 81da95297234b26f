/** Messages of the protocol of PostgreSQL. */
import { HEADER_BYTES } from "../../../src/source/protocol/data-row.ts"

/** Writes a message of the protocol: its type, its length (including that of the length), its payload. */
export const frameOf = (type: string, payload: Uint8Array = Buffer.alloc(0)): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(4 + payload.length)
  return Buffer.concat([Buffer.from(type), length, payload])
}

/** Takes reads of a socket. Returns the messages that each read completes, if `keep` keeps them. */
export const framesThat = (keep: (type: string) => boolean): ((bytes: Buffer) => Buffer) => {
  let pending = Buffer.alloc(0)
  return (bytes) => {
    pending = Buffer.concat([pending, bytes])
    const kept: Array<Buffer> = []
    for (let end; pending.length >= HEADER_BYTES && pending.length >= (end = 1 + pending.readUInt32BE(1));) {
      if (keep(String.fromCharCode(pending[0]!))) kept.push(pending.subarray(0, end))
      pending = pending.subarray(end)
    }
    return Buffer.concat(kept)
  }
}
