export interface BodyLimits {
  /** Bytes of one body. */
  readonly bodyBytes: number
  /** How long a body may take to arrive. */
  readonly bodyMs: number
  /**
   * Bytes of all bodies that are arriving. Each counts as `bodyLeastBytes` at least, which is about what a request takes
   * otherwise.
   */
  readonly bodiesBytes: number
  readonly bodyLeastBytes: number
}

/** Why a body was not read to its end. */
export type Unread = "too large" | "too slow" | "crowded out" | "ended early"

interface Arriving {
  bytes: number
  readonly giveUp: (reason: Unread) => void
}

/**
 * Reads request bodies. When the bodies that are arriving exceed the limit, the oldest gives way. An ordinary body
 * arrives within moments, so clients whose bodies do not end keep nobody out.
 */
export const makeBodyReader = ({ bodyBytes, bodyMs, bodiesBytes, bodyLeastBytes }: BodyLimits) => {
  /** The bodies that are arriving, oldest first. */
  const arriving = new Set<Arriving>()
  let total = 0

  const makeRoom = () => {
    for (const oldest of arriving) {
      if (total <= bodiesBytes) return
      oldest.giveUp("crowded out")
    }
  }
  const forget = (one: Arriving) => {
    if (arriving.delete(one)) total -= one.bytes
  }
  const count = (one: Arriving, bytes: number) => {
    if (!arriving.has(one)) return
    const counted = Math.max(bytes, bodyLeastBytes)
    total += counted - one.bytes
    one.bytes = counted
    makeRoom()
  }

  return async (body: ReadableStream<Uint8Array> | null): Promise<Uint8Array | Unread> => {
    if (!body) return new Uint8Array()
    const reader = body.getReader()
    let unread: Unread | undefined
    const one: Arriving = {
      bytes: 0,
      giveUp: (reason) => {
        unread ??= reason
        forget(one)
        // A pending read is then answered as at the end of the body.
        reader.cancel().catch(() => {})
      }
    }
    arriving.add(one)
    count(one, 0)
    const timer = setTimeout(() => one.giveUp("too slow"), bodyMs)
    const chunks: Array<Uint8Array> = []
    let bytes = 0
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (unread) return unread
        if (done) return Buffer.concat(chunks)
        bytes += value.length
        if (bytes > bodyBytes) one.giveUp("too large")
        else chunks.push(value)
        count(one, bytes)
      }
    } catch {
      return unread ?? "ended early"
    } finally {
      clearTimeout(timer)
      forget(one)
    }
  }
}
