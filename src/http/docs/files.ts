/* oxlint-disable import/default, import/no-named-as-default -- files that are sent, imported as texts */
import elements from "./elements.js" with { type: "text" }
import guide from "./guide.md" with { type: "text" }
import markdown from "./markdown.js" with { type: "text" }
import style from "./page.css" with { type: "text" }
import page from "./page.js" with { type: "text" }
import tryIt from "./try-it.js" with { type: "text" }

/** The page at /docs. Its paths are relative, so that a proxy may give the service a path of its own. */
export const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice: API</title>
<link rel="stylesheet" href="docs/page.css">
<script type="module" src="docs/page.js"></script>
<div class="page">
<nav aria-label="Contents"><ul></ul></nav>
<main><p>This page shows <a href="openapi.json">openapi.json</a> and needs JavaScript.</p></main>
</div>
</html>
`

const javascript = "text/javascript; charset=utf-8"

/** What the page loads, by name: media type and content. */
export const files: ReadonlyMap<string, readonly [contentType: string, text: string]> = new Map([
  ["page.css", ["text/css; charset=utf-8", style]],
  ["page.js", [javascript, page]],
  ["elements.js", [javascript, elements]],
  ["markdown.js", [javascript, markdown]],
  ["try-it.js", [javascript, tryIt]],
  ["guide.md", ["text/markdown; charset=utf-8", guide]]
])
