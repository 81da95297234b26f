/** Opens CSV files in LibreOffice, and returns their cells. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { temporaryDirectory } from "../support/shared-service.ts"

/** The program, if the machine has it. */
export const soffice = Bun.which("soffice")

export interface Cell {
  /** `string`, `float`, `percentage`, `currency`, `date`, `time` or `boolean`; undefined in an empty cell. */
  readonly type: string | undefined
  /** The text of a string, or the attribute of ODF for another value. */
  readonly value: string
  readonly formula: boolean
}

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }
const unescape = (xml: string) =>
  xml.replaceAll(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));/g, (_, decimal?: string, hex?: string, name?: string) =>
    name ? entities[name]! : String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex!, 16))
  )

/** Returns the text of a cell. Paragraphs are its lines, and ODF writes blanks and tabs as elements. */
const textOf = (cell: string) =>
  [...cell.matchAll(/<text:p(?:\/>|[^>]*>([^]*?)<\/text:p>)/g)]
    .map(([, paragraph = ""]) =>
      unescape(
        paragraph
          .replaceAll(/<text:s(?: text:c="(\d+)")?\/>/g, (_, count = "1") => " ".repeat(Number(count)))
          .replaceAll("<text:tab/>", "\t")
          .replaceAll("<text:line-break/>", "\n")
          .replaceAll(/<[^>]*>/g, "")
      )
    )
    .join("\n")

const repeated = (attributes: string, of: "rows" | "columns") =>
  Number(new RegExp(`number-${of}-repeated="(\\d+)"`).exec(attributes)?.[1] ?? 1)

const cellsOf = (row: string): ReadonlyArray<Cell> =>
  [...row.matchAll(/<table:table-cell([^>]*?)(?:\/>|>([^]*?)<\/table:table-cell>)/g)].flatMap(
    ([, attributes = "", content = ""]) => {
      const type = /office:value-type="([^"]*)"/.exec(attributes)?.[1]
      const value = /office:(?:date-|time-|boolean-)?value="([^"]*)"/.exec(attributes)?.[1]
      const cell = { type, value: value ?? textOf(content), formula: attributes.includes("table:formula=") }
      return type === undefined && repeated(attributes, "columns") > 100
        ? []
        : Array.from({ length: repeated(attributes, "columns") }, () => cell)
    }
  )

/** Returns the rows of a flat OpenDocument spreadsheet, without the empty rows that fill its sheet. */
const rowsOf = (xml: string) =>
  [...xml.matchAll(/<table:table-row([^>]*)>([^]*?)<\/table:table-row>/g)].flatMap(([, attributes = "", row = ""]) => {
    const cells = cellsOf(row)
    return cells.length === 0 ? [] : Array.from({ length: repeated(attributes, "rows") }, () => cells)
  })

/** Options of the import dialog. `lcid` is the locale in which numbers and dates are recognized. */
interface Import {
  readonly delimiter: string
  readonly encoding: "utf-8" | "utf-16le"
  readonly locale?: "en-US" | "de-DE"
}

/**
 * Opens files as the import dialog does with "Detect special numbers" and without "Format quoted field as text".
 * @see https://help.libreoffice.org/latest/en-US/text/shared/guide/csv_params.html
 */
export const openInLibreOffice = async (files: ReadonlyArray<Buffer>, { delimiter, encoding, locale = "en-US" }: Import) => {
  const directory = await mkdtemp(join(await temporaryDirectory(), "office-"))
  const names = files.map((_, at) => join(directory, `${at}.csv`))
  for (const [at, name] of names.entries()) await writeFile(name, files[at]!)
  const options = [
    delimiter.charCodeAt(0),
    34,
    encoding === "utf-8" ? 76 : 65_535,
    1,
    "",
    locale === "de-DE" ? 1031 : 1033,
    false,
    true
  ]
  const office = Bun.spawn(
    [soffice!, `-env:UserInstallation=file://${directory}/profile`, "--headless"].concat(
      `--infilter=Text - txt - csv (StarCalc):${options.join()}`,
      ["--convert-to", "fods", "--outdir", directory, ...names]
    ),
    { stdout: "ignore", stderr: "pipe", timeout: 120_000 }
  )
  const complaint = await new Response(office.stderr).text()
  if ((await office.exited) !== 0) throw new Error(complaint)
  return Promise.all(names.map(async (name) => rowsOf(await readFile(name.replace(/csv$/, "fods"), "utf8"))))
}
