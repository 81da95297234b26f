import { readFileSync } from "node:fs"

const LOOK_MS = 500

/** Returns the process id of a process's parent, which stands after the name in parentheses; undefined without /proc. */
const parentOf = (pid: number): number | undefined => {
  try {
    return Number(
      readFileSync(`/proc/${pid}/stat`, "latin1")
        .replace(/^.*\) \S /s, "")
        .split(" ")[0]
    )
  } catch {
    return undefined
  }
}

const isShellCommand = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("sh\0-c\0")
  } catch {
    return false
  }
}

/**
 * Calls `stop` when the shell under which `npx` runs us is gone. On SIGTERM, npm ends that shell and itself without a signal
 * to `bun run` or to us: the service would run on unnoticed, with its port and its database.
 *
 *     npx → sh -c 'bun' run server → bun run server → bun dist/main.js
 */
export const watchNpx = (stop: () => void): void => {
  const shell = parentOf(process.ppid)
  if (shell === undefined || !isShellCommand(shell)) return
  const timer = setInterval(() => {
    if (parentOf(process.ppid) === shell) return
    clearInterval(timer)
    stop()
  }, LOOK_MS)
  timer.unref()
}
