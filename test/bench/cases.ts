import type { Case } from "./case.ts"
import { fileServerCases } from "./file-servers.ts"
import { programCases } from "./programs.ts"
import { serviceCases } from "./service-cases.ts"

/** All cases that this machine can run. What a server takes is read from /proc. */
export const cases: ReadonlyArray<Case> = [
  ...programCases,
  ...(process.platform === "linux" ? [...serviceCases, ...fileServerCases] : [])
]

/** Those of a comma-separated list, in the order of all. */
export const casesNamed = (list: string): ReadonlyArray<Case> => {
  const wanted = list.split(",").map((name) => name.trim())
  const names = cases.map(({ name }) => name)
  const unknown = wanted.filter((name) => !names.includes(name))
  if (unknown.length > 0)
    throw new Error(`--only ${list} is not allowed: this machine has no case ${unknown.join(", ")}, but ${names.join(", ")}`)
  return cases.filter(({ name }) => wanted.includes(name))
}
