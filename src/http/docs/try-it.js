import { element } from "./elements.js"

/** The most of an answer that is shown. */
const MOST_BYTES = 65_536

/** Where the service stands: the page may be behind a proxy with a path of its own. */
const base = new URL(document.baseURI).pathname.replace(/\/docs\/?$/, "")

/** Says whether a parameter stands for all filters, which are then given as they stand in a query. */
const isFilters = ({ component }) => component === "#/components/parameters/filters"

/** Says whether a page can send a parameter: browsers set this header themselves. */
const canBeSent = ({ in: place, name }) => place !== "header" || name !== "Accept-Encoding"

const fixedValue = ({ schema }) => schema?.const

const fieldOf = (parameter) => {
  const { name, in: place, required, schema = {} } = parameter
  const [example] = schema.examples ?? []
  const placeholder = isFilters(parameter) ? "id=gt.5&name=like.A*" : String(example ?? schema.enum?.join(" | ") ?? "")
  const input = element("input", { name, placeholder, autocomplete: "off", spellcheck: "false" })
  input.value = fixedValue(parameter) ?? ""
  if (fixedValue(parameter) !== undefined) input.readOnly = true
  input.required = required === true
  return {
    parameter,
    input,
    label: element("label", {}, element("span", {}, name, element("span", { class: "dim" }, ` ${place}`)), input)
  }
}

/** Puts the values of the fields into a request. Empty ones are left out. */
const requestOf = (path, fields) => {
  const query = []
  const headers = new Headers()
  let target = path.split("#")[0]
  for (const { parameter, input } of fields) {
    const { name, in: place } = parameter
    const { value } = input
    if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(value))
    else if (value === "") continue
    else if (place === "header") headers.set(name, value)
    else if (isFilters(parameter)) query.push(value)
    else query.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
  }
  return { url: base + target + (query.length > 0 ? `?${query.join("&")}` : ""), headers }
}

/** Shows the first part of a body as it comes. */
const showBody = async (response, output, stop) => {
  if (!response.body) return
  const decoder = new TextDecoder()
  let bytes = 0
  for await (const chunk of response.body) {
    bytes += chunk.length
    output.append(decoder.decode(chunk, { stream: true }))
    if (bytes < MOST_BYTES) continue
    output.append("\n… there is more")
    stop()
    return
  }
  if (/json/.test(response.headers.get("Content-Type") ?? "") && output.textContent !== "")
    output.textContent = JSON.stringify(JSON.parse(output.textContent), null, 2)
}

/** Makes the form that sends an operation's request and shows its answer. */
export const tryIt = (path, method, operation, parameters) => {
  const fields = parameters.filter(canBeSent).map(fieldOf)
  const body = operation.requestBody && element("textarea", { name: "body", placeholder: "{}", spellcheck: "false" })
  const send = element("button", { type: "submit" }, "Send")
  const stop = element("button", { type: "button", disabled: "" }, "Stop")
  const head = element("pre", { hidden: "", "aria-live": "polite" })
  const content = element("pre", { hidden: "" })
  const form = element("form", {}, ...fields.map(({ label }) => label))
  if (body) form.append(element("label", {}, element("span", {}, "JSON body"), body))
  form.append(send, stop, head, content)

  let abort = new AbortController()
  stop.addEventListener("click", () => abort.abort())
  const run = async () => {
    const { url, headers } = requestOf(path, fields)
    const json = body?.value.trim() ?? ""
    if (json !== "") headers.set("Content-Type", "application/json")
    head.textContent = `${method.toUpperCase()} ${url}\n`
    content.textContent = ""
    const begun = performance.now()
    const response = await fetch(url, { method, headers, signal: abort.signal, ...(json !== "" && { body: json }) })
    const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`)
    const ms = Math.round(performance.now() - begun)
    head.append(`\n${response.status} ${response.statusText} after ${ms} ms\n${lines.join("\n")}`)
    await showBody(response, content, () => abort.abort())
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    abort.abort()
    abort = new AbortController()
    const mine = abort
    head.hidden = false
    content.hidden = false
    stop.disabled = false
    run()
      .catch((error) => {
        if (!mine.signal.aborted) head.append(`\nNo complete answer: ${error.message}`)
      })
      .finally(() => {
        if (mine === abort) stop.disabled = true
      })
  })
  return form
}
