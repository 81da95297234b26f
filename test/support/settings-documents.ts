/**
 * `.env.example` and the table between README's markers, made from the settings. `bun run settings` writes both; a test
 * compares them.
 */
import { join } from "node:path"
import { settingGroups, type Setting } from "../../src/settings.ts"

const root = join(import.meta.dir, "../..")
const LINE_CHARS = 118

const groups: ReadonlyArray<readonly [string, ReadonlyArray<Setting>]> = Object.entries(settingGroups).map(([title, group]) => [
  title,
  Object.values<Setting>(group)
])

const withoutTicks = (text: string) => text.replaceAll("`", "")

const wrapped = (text: string): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const word of text.split(" ")) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < LINE_CHARS) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map((line) => `# ${line}`)
}

/** One setting with its explanation. What the setting before has said already is left out. */
const explained = ({ name, alias, kind, meaning, detail, otherwise, example, ...setting }: Setting, before?: Setting): string => {
  const sentences = [
    meaning === before?.meaning ? undefined : `${meaning}.`,
    detail,
    alias === undefined ? undefined : `${alias} is an older name for it; ${name} wins.`
  ]
  const paragraphs = [
    sentences.filter((sentence) => sentence !== undefined).join(" "),
    `Allowed: ${kind.allowed}.`,
    otherwise === undefined ? "" : `Default: ${otherwise}.`
  ]
  const comment = paragraphs.filter((paragraph) => paragraph !== "").flatMap((paragraph) => wrapped(withoutTicks(paragraph)))
  const value = setting.default ?? example ?? ""
  return [...comment, ...[name, alias].flatMap((one) => (one === undefined ? [] : [`#${one}=${value}`]))].join("\n")
}

const HEAD = `# Settings of Sluice, each with its default where it has one. Copy this file to .env, which Bun reads, and remove the # where you
# want another value. An empty value counts as unset. A wrong one stops the start with a line that names it.
# A time is a number with a unit (90 seconds, 24 hours, 7 days); without a unit it is seconds.
# This file is made from src/settings.ts by \`bun run settings\`.`

export const envExample = (): string =>
  `${[
    HEAD,
    ...groups.flatMap(([title, group]) => [
      `# --- ${title} ---`,
      ...group.map((setting, at) => explained(setting, group[at - 1]))
    ])
  ].join("\n\n")}\n`

const row = (settings: ReadonlyArray<Setting>): string => {
  const names = settings.map(({ name, alias }) => `\`${name}\`${alias === undefined ? "" : ` (or \`${alias}\`)`}`)
  const defaults = settings.map((setting) => (setting.default === undefined ? setting.otherwise : `\`${setting.default}\``))
  return `| ${names.join(", ")} | ${defaults.join(", ")} | ${settings[0]!.meaning} |`
}

export const readmeTable = (): string => {
  const rows = groups.flatMap(([, settings]) => [...Map.groupBy(settings, ({ meaning }) => meaning).values()].map(row))
  return ["| variable | default | meaning |", "| --- | --- | --- |", ...rows].join("\n")
}

const MARKED = /(<!-- settings -->\n)[^]*(<!-- \/settings -->)/

/** The text of README with the table in its place. */
export const withTable = (readme: string): string => readme.replace(MARKED, (_, begin, end) => `${begin}${readmeTable()}\n${end}`)

const readmePath = join(root, "README.md")
const envPath = join(root, ".env.example")
export const readDocuments = async () => ({ readme: await Bun.file(readmePath).text(), env: await Bun.file(envPath).text() })

if (import.meta.main) {
  const { readme } = await readDocuments()
  await Bun.write(readmePath, withTable(readme))
  await Bun.write(envPath, envExample())
}
