const POLL_MS = 10
const LIMIT_MS = 40_000

/** Waits until `probe` returns something. Fails after `limitMs`, and says what was waited for. */
export const until = async <A>(
  what: string,
  probe: () => A | undefined | false | Promise<A | undefined | false>,
  limitMs = LIMIT_MS
): Promise<A> => {
  const end = performance.now() + limitMs
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`)
    await Bun.sleep(POLL_MS)
  }
}
