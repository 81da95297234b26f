import { element, inline, table } from "./elements.js"
import { tryIt } from "./try-it.js"

const METHODS = ["get", "post", "delete"]

/** Follows a reference within the document. */
const resolver = (api) => (value) => {
  if (value?.$ref === undefined) return value
  const keys = value.$ref.slice(2).split("/")
  return keys.reduce((part, key) => part[key.replaceAll("~1", "/").replaceAll("~0", "~")], api)
}

const typeOf = (schema = {}) => {
  if (schema.const !== undefined) return `"${schema.const}"`
  if (schema.enum) return schema.enum.join(" | ")
  if (schema.type === "array") return `${typeOf(schema.items)}, several`
  if (schema.$ref) return schema.$ref.split("/").at(-1)
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(" or ")
  return [schema.type ?? "any"].flat().join(" | ")
}

const parameterTable = (parameters) =>
  table(
    ["Parameter", "In", "Value", ""],
    parameters.map(({ name, in: place, required, schema, description = "" }) => [
      [element("code", {}, name), required ? " required" : ""],
      place,
      typeOf(schema),
      inline(schema.description && schema.description !== description ? `${description} ${schema.description}` : description)
    ])
  )

const problemsOf = (response, resolve) => {
  const { allOf = [] } = response.content?.["application/problem+json"]?.schema ?? {}
  return allOf.flatMap((part) => resolve(part).properties?.type?.enum ?? [])
}

const answerTable = (responses, resolve) =>
  table(
    ["Status", "Body", "Headers", ""],
    Object.entries(responses).map(([status, given]) => {
      const response = resolve(given)
      const problems = problemsOf(response, resolve).map((type) => element("div", {}, element("code", {}, type)))
      const bodies = Object.entries(response.content ?? {}).map(([type, { schema }]) =>
        element("div", {}, type, type === "application/json" ? ` ${typeOf(schema)}` : "")
      )
      return [status, bodies, Object.keys(response.headers ?? {}).join(", "), [...inline(response.description), ...problems]]
    })
  )

const bodyTable = (requestBody, resolve) => {
  const { schema } = requestBody.content["application/json"]
  const { properties = {}, allOf = [] } = resolve(schema)
  const all = { ...Object.assign({}, ...allOf.map((part) => resolve(part).properties)), ...properties }
  return table(
    ["Member of the JSON body", "Value", ""],
    Object.entries(all).map(([name, value]) => [element("code", {}, name), typeOf(value), inline(value.description ?? "")])
  )
}

const operationElement = (path, method, operation, resolve, shared) => {
  const parameters = [...shared, ...operation.parameters]
    .map((given) => ({ ...resolve(given), component: given.$ref }))
    .map((parameter) => ({ ...parameter, schema: resolve(parameter.schema) }))
  const details = element(
    "details",
    { class: "operation", id: operation.operationId },
    element(
      "summary",
      {},
      element("span", { class: "method" }, method.toUpperCase()),
      element("code", {}, path),
      element("span", { class: "dim" }, ` ${operation.summary ?? ""}`)
    )
  )
  // Filled when it is opened: with many datasets there are many operations.
  details.addEventListener(
    "toggle",
    () => {
      if (parameters.length > 0) details.append(element("h4", {}, "Parameters"), parameterTable(parameters))
      if (operation.requestBody) details.append(element("h4", {}, "Or a JSON body"), bodyTable(operation.requestBody, resolve))
      details.append(element("h4", {}, "Answers"), answerTable(operation.responses, resolve))
      details.append(element("h4", {}, "Try it"), tryIt(path, method, operation, parameters))
    },
    { once: true }
  )
  return details
}

const operationsOf = (api) =>
  Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      path,
      method,
      operation: item[method],
      shared: item.parameters ?? []
    }))
  )

const section = (id, title, ...children) => element("section", { id }, element("h2", {}, title), ...children)

const schemaElement = (name, schema) => {
  const rows = Object.entries(schema.properties ?? {}).map(([member, value]) => [
    element("code", {}, member),
    typeOf(value),
    inline(value.description ?? "")
  ])
  return element(
    "details",
    { class: "operation", id: `schema-${name}` },
    element("summary", {}, element("code", {}, name), element("span", { class: "dim" }, ` ${schema.description ?? ""}`)),
    ...(rows.length > 0 ? [table(["Member", "Value", ""], rows)] : [element("p", {}, typeOf(schema))])
  )
}

const isOfDataset = ({ path }) => path.includes("#")

/** The guide is in the page from the beginning. */
const guide = document.getElementById("guide")

const show = (api) => {
  const resolve = resolver(api)
  const operations = operationsOf(api)
  const shown = ({ path, method, operation, shared }) => operationElement(path, method, operation, resolve, shared)
  const sections = [
    ...api.tags.map(({ name, description }) =>
      section(
        `tag-${name}`,
        name[0].toUpperCase() + name.slice(1),
        element("p", {}, description ?? ""),
        ...operations.filter((one) => !isOfDataset(one) && one.operation.tags.includes(name)).map(shown)
      )
    ),
    section("filters-by-dataset", "Filters and parameters of each dataset", ...operations.filter(isOfDataset).map(shown)),
    section(
      "problem-types",
      "Problem types",
      table(
        ["Type", "Status", "Meaning"],
        api.components.schemas.ProblemType.oneOf.map(({ const: type, title, description }) => [
          element("code", {}, type),
          title,
          inline(description)
        ])
      )
    ),
    section(
      "schemas",
      "Schemas",
      ...Object.entries(api.components.schemas)
        .filter(([name]) => name !== "ProblemType")
        .map(([name, schema]) => schemaElement(name, schema))
    )
  ]
  const links = [
    ...sections.map((one) => [one.id, one.querySelector("h2").textContent]),
    ["guide", "Guide"],
    ...[...guide.querySelectorAll("h3")].map((heading) => [heading.id, heading.textContent])
  ]
  document.querySelector("nav ul").append(...links.map(([id, text]) => element("li", {}, element("a", { href: `#${id}` }, text))))
  document
    .querySelector("main")
    .replaceChildren(
      element("h1", {}, `${api.info.title} ${api.info.version}`),
      element("p", {}, ...inline(api.info.description ?? "")),
      ...sections,
      guide
    )
}

const load = async (path) => {
  const response = await fetch(path)
  if (response.ok) return response.json()
  const { detail } = await response.json()
  throw new Error(`${path}: ${response.status}: ${detail}`)
}

try {
  show(await load("openapi.json"))
} catch (error) {
  const failure = element("p", {}, `The description cannot be shown. ${error.message}`)
  document.querySelector("main").replaceChildren(failure, guide)
}
