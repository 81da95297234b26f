export interface BodyLimits {
  /** Bytes of one body. */
  readonly bodyBytes: number
  /** How long one may take to arrive. */
  readonly bodyMs: number
  /** Bytes of all that are arriving, each counted as `bodyLeastBytes` at least, about what a request takes besides. */
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
 * Reads request bodies. Where those that are arriving have more bytes than they may, the oldest gives way: an honest body
 * is there within moments, so that clients whose bodies do not end keep out nobody else's.
 */
export const makeBodyReader = ({ bodyBytes, bodyMs, bodiesBytes, bodyLeastBytes }: BodyLimits) => {
  /** In the order of arrival. */
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
        // A read that waits is answered as at the end.
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
