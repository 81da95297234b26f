import { element, inline, table } from "./elements.js"

const cellsOf = (line) =>
  line
    .replaceAll(/^\s*\||\|\s*$/g, "")
    .split("|")
    .map((cell) => inline(cell.trim()))

/** Each kind of block: how its first line begins, which lines belong to it, and what is made of them. */
const blocks = [
  {
    begins: /^```/,
    take: (lines) => lines.findIndex((line, index) => index > 0 && line.startsWith("```")) + 1 || lines.length,
    make: (lines) => element("pre", {}, element("code", {}, lines.slice(1, -1).join("\n")))
  },
  {
    begins: /^#+ /,
    take: () => 1,
    // The page has the headings above.
    make: ([line]) => {
      const [, marks, text] = /^(#+) (.*)$/.exec(line)
      const id = `guide-${text.toLowerCase().replaceAll(/\W+/g, "-")}`
      return element(`h${Math.min(marks.length + 1, 6)}`, { id }, ...inline(text))
    }
  },
  {
    begins: /^\|/,
    take: (lines) => lines.findIndex((line) => !line.startsWith("|")),
    make: ([head, , ...rows]) =>
      table(
        cellsOf(head).map(([text]) => text ?? ""),
        rows.map(cellsOf)
      )
  },
  {
    begins: /^- /,
    take: (lines) => lines.findIndex((line) => !/^(- | {2})/.test(line)),
    make: (lines) => {
      const items = lines.join("\n").split(/^- /m).slice(1)
      return element("ul", {}, ...items.map((item) => element("li", {}, ...inline(item.replaceAll(/\s+/g, " ")))))
    }
  },
  {
    begins: /^/,
    take: (lines) => lines.findIndex((line) => line === "" || /^(```|#+ |\||- )/.test(line)),
    make: (lines) => element("p", {}, ...inline(lines.join(" ")))
  }
]

/** Makes elements of Markdown: headings, paragraphs, lists, tables and code. */
export const markdown = (text) => {
  const made = []
  let lines = text.split("\n")
  while (lines.length > 0) {
    if (lines[0].trim() === "") {
      lines = lines.slice(1)
      continue
    }
    const block = blocks.find(({ begins }) => begins.test(lines[0]))
    const end = block.take(lines)
    const count = end > 0 ? end : lines.length
    made.push(block.make(lines.slice(0, count)))
    lines = lines.slice(count)
  }
  return made
}
