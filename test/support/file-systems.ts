import { afterAll } from "bun:test"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { temporaryDirectory } from "./shared-service.ts"

/** Where a new file system of that type is mounted, or undefined where none can be. */
export const mountFileSystem = async (type: string, options: string): Promise<string | undefined> => {
  const skip = () => {
    console.log(`skipped: tests on a ${type} of their own, which only root can mount`)
    return undefined
  }
  if (process.getuid?.() !== 0 || !Bun.which("mount")) return skip()
  const path = join(await temporaryDirectory(), type)
  await mkdir(path)
  const { success } = Bun.spawnSync(["mount", "-t", type, "-o", options, type, path], { stderr: "ignore" })
  if (success) afterAll(() => void Bun.spawnSync(["umount", path]))
  return success ? path : skip()
}
