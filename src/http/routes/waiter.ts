/**
 * Waits for a change. It uses a promise and a timer, since fibers would take 30 KB and hundreds of streams wait at once,
 * most of the time for nothing.
 */
export class Waiter {
  /** Ends the wait under way; undefined while there is none, or when its end is already set. */
  #wake: ((afterMs: number) => void) | undefined
  /** Set by a change that came while nobody waited; the next wait ends after this many milliseconds. */
  #changed: number | undefined

  /** Resolves when something has changed, or after `mostMs`. One wait at a time. */
  wait(mostMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const end = () => {
      this.#wake = undefined
      resolve()
    }
    const timer = setTimeout(end, this.#changed ?? mostMs)
    if (this.#changed === undefined)
      this.#wake = (afterMs) => {
        clearTimeout(timer)
        setTimeout(end, afterMs)
        this.#wake = undefined
      }
    this.#changed = undefined
    return promise
  }

  /** Ends the wait in `afterMs`: a change that comes within that time is seen with the next look, which reads the row. */
  wake(afterMs: number): void {
    if (this.#wake) this.#wake(afterMs)
    else this.#changed = afterMs
  }
}
