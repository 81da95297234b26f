import { expect, test } from "bun:test"
import { dirname, join, relative, sep } from "node:path"

const src = join(import.meta.dir, "../src")

/** Which folders the files of a folder may import from, beside their own and those that all may import. */
const allowed: Record<string, ReadonlyArray<string>> = {
  "setting-kinds.ts": ["datasets"],
  http: ["jobs", "read", "datasets", "exports", "storage", "formats", "source", "rate-limit", "postgres"],
  jobs: ["read", "storage", "exports", "postgres", "source"],
  read: ["source", "datasets", "exports", "formats"],
  exports: ["datasets", "formats"],
  datasets: ["source"],
  postgres: ["exports"],
  storage: [],
  source: [],
  formats: [],
  "rate-limit": [],
  "embedded-postgres": []
}

const forAll = new Set(["config.ts", "settings.ts", "setting-kinds.ts", "limits.ts"])

interface Import {
  readonly from: string
  readonly to: string
  readonly names: string
}

const folderOf = (path: string) => (path.includes(sep) ? path.slice(0, path.indexOf(sep)) : path)

const imports: Array<Import> = []
for (const from of new Bun.Glob("**/*.ts").scanSync(src)) {
  const text = await Bun.file(join(src, from)).text()
  for (const [, names = "", to = ""] of text.matchAll(/^(?:import|export) ((?:type )?[^"=]*?)(?: from )?"(\.[^"]+)"/gm)) {
    imports.push({ from, to: relative(src, join(src, dirname(from), to)), names })
  }
  for (const [, to = ""] of text.matchAll(/\bimport\("(\.[^"]+)"/g)) {
    imports.push({ from, to: relative(src, join(src, dirname(from), to)), names: "*" })
  }
}

test("folders import only what they may, and nothing outside src", () => {
  expect(imports.length).toBeGreaterThan(50)
  const wrong = imports.filter(({ from, to }) => {
    const [source, target] = [folderOf(from), folderOf(to)]
    if (target === "..") return true
    if (source === target || forAll.has(target) || source === "main.ts" || source === "layers.ts") return false
    return !allowed[source]?.includes(target)
  })
  expect(wrong).toEqual([])
})

test("http takes the error of the app database from postgres, and nothing else", () => {
  const taken = imports.filter(({ from, to }) => folderOf(from) === "http" && folderOf(to) === "postgres")
  expect(new Set(taken.map(({ names }) => names.replace("type ", "")))).toEqual(new Set(["{ DatabaseError }"]))
})

test("no file imports itself by way of others", () => {
  const targets = Map.groupBy(imports, ({ from }) => from)
  const visit = (file: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (path.includes(file)) return [...path, file]
    for (const { to } of targets.get(file) ?? []) {
      const cycle = visit(to, [...path, file])
      if (cycle) return cycle
    }
    return undefined
  }
  for (const file of targets.keys()) expect(visit(file, [])).toBeUndefined()
})

test("the environment is read in config.ts alone, and effects are run in the files of this list alone", async () => {
  for (const file of new Bun.Glob("**/*.ts").scanSync(src)) {
    const text = await Bun.file(join(src, file)).text()
    if (file !== "config.ts") expect({ file, reads: /process\.env|Bun\.env/.test(text) }).toEqual({ file, reads: false })
    const runs = /\brun(Promise|PromiseExit|Sync|Fork|Main)\b/.test(text)
    if (runs)
      expect([
        "main.ts",
        "http/bridge.ts",
        "http/response/streaming-body.ts",
        "http/router.ts",
        "http/server.ts",
        "jobs/queue.ts"
      ]).toContain(file)
  }
})
