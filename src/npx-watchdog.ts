import { readFileSync } from "node:fs"

const LOOK_MS = 500

/** Process id of a process's parent, from the fields after its name in parentheses; undefined without /proc. */
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
 * Calls `stop` when the shell that `npx` runs us under is gone. On SIGTERM npm ends that shell and itself, and
 * neither tells `bun run` or us: the service would live on, unseen, with its port and its database.
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
