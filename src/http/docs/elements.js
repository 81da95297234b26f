/** Makes an element. Texts are put in as text, never as HTML. */
export const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Makes a table of rows, each a list of texts and elements. */
export const table = (head, rows) =>
  element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, ...[cell].flat())))))
  )

const INLINE = /`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)|\*\*([^*]+)\*\*/g

/** Makes a link to a page of the web, of this service or of this page. A browser takes two slashes for another host. */
const link = (text, target) =>
  /^(https?:\/\/|#|\/(?![/\\]))/.test(target) ? element("a", { href: target }, text) : document.createTextNode(text)

/** Reads the marks within a line of Markdown: code, links and bold text. */
export const inline = (text) => {
  const nodes = []
  let end = 0
  for (const match of text.matchAll(INLINE)) {
    const [all, code, label, target, bold] = match
    nodes.push(text.slice(end, match.index))
    if (code !== undefined) nodes.push(element("code", {}, code))
    else if (bold !== undefined) nodes.push(element("strong", {}, bold))
    else nodes.push(link(label, target))
    end = match.index + all.length
  }
  return [...nodes, text.slice(end)].filter((node) => node !== "")
}
