import { Effect } from "effect"
import type { Dataset } from "../../datasets/dataset.ts"
import { DatasetRegistry } from "../../datasets/registry.ts"
import type { ApiRequest, Handlers } from "../handler.ts"
import { files, html } from "../docs/files.ts"
import { NotFound, PreconditionFailed } from "../failures.ts"
import { openApiDocument } from "../openapi/document.ts"
import { evaluatePreconditions } from "../response/preconditions.ts"

/** A file that is sent as it is. */
interface File {
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

const fileOf = (text: string, contentType: string, headers: Readonly<Record<string, string>> = {}): File => {
  const bytes = new TextEncoder().encode(text)
  return {
    bytes,
    headers: {
      "Content-Type": contentType,
      "Content-Length": String(bytes.length),
      "Cache-Control": "no-cache",
      ETag: `"${new Bun.CryptoHasher("sha256").update(bytes).digest("base64url").slice(0, 22)}"`,
      "X-Content-Type-Options": "nosniff",
      ...headers
    }
  }
}

// The page loads its own files alone, and nothing may frame it (https://www.w3.org/TR/CSP3/).
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const docsPage = fileOf(html, "text/html; charset=utf-8", { "Content-Security-Policy": PAGE_POLICY })
const docsFiles = new Map([...files].map(([name, [contentType, text]]) => [name, fileOf(text, contentType)]))

const send = (request: ApiRequest, { bytes, headers }: File) =>
  Effect.gen(function* () {
    const etag = headers["ETag"]!
    const precondition = evaluatePreconditions(request.headers, { etag })
    if (precondition === "failed") return yield* new PreconditionFailed({ detail: `The document's ETag is ${etag}` })
    const { "Content-Type": _type, "Content-Length": _length, ...unchanged } = headers
    if (precondition === "not modified") return new Response(null, { status: 304, headers: unchanged })
    return { headers, open: Effect.sync(() => new Response(bytes, { headers })) }
  })

/** The description of the API, for programs and for people. */
export const descriptionHandlers = Effect.gen(function* () {
  const datasets = yield* DatasetRegistry
  /** The last document, and the datasets that it describes. */
  let last: { readonly file: File; readonly datasets: ReadonlyMap<string, Dataset> } | undefined

  const documentOf = (known: ReadonlyMap<string, Dataset>): File => {
    if (last?.datasets !== known)
      last = { datasets: known, file: fileOf(JSON.stringify(openApiDocument(known.values())), "application/json") }
    return last.file
  }

  const handlers: Pick<Handlers, "getOpenApi" | "getDocs" | "getDocsFile"> = {
    getOpenApi: (request) => Effect.flatMap(datasets.all, (known) => send(request, documentOf(known))),

    getDocs: (request) => send(request, docsPage),

    getDocsFile: (request) => {
      const name = request.params.file
      const file = docsFiles.get(name)
      return file
        ? send(request, file)
        : Effect.fail(new NotFound({ what: "path", detail: `There is no file ${JSON.stringify(name.slice(0, 60))} here` }))
    }
  }
  return handlers
})
