/* oxlint-disable import/default, import/no-named-as-default -- files that are sent, imported as texts */
import elements from "./elements.js" with { type: "text" }
import guide from "./guide.md" with { type: "text" }
import style from "./page.css" with { type: "text" }
import page from "./page.js" with { type: "text" }
import tryIt from "./try-it.js" with { type: "text" }

/** The guide as a part of the page, below whose headings its own stand. It is our own text alone, so it may be HTML. */
const guideHtml = Bun.markdown
  .html(guide, { headings: { ids: true } })
  .replaceAll(/<(\/?)h([1-5])(?: id="([^"]*)")?>/g, (_, end: string, level: string, id?: string) =>
    end === "/" ? `</h${Number(level) + 1}>` : `<h${Number(level) + 1} id="guide-${id}">`
  )

/** The page at /docs, in which the guide can be read without JavaScript. Its paths are relative, so that a proxy may give the service a path of its own. */
export const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice: API</title>
<link rel="stylesheet" href="docs/page.css">
<script type="module" src="docs/page.js"></script>
<div class="page">
<nav aria-label="Contents"><ul></ul></nav>
<main>
<p>With JavaScript, this page shows <a href="openapi.json">openapi.json</a> above the guide.</p>
<section id="guide">
${guideHtml}</section>
</main>
</div>
</html>
`

const javascript = "text/javascript; charset=utf-8"

/** What the page loads, by name: media type and content. */
export const files: ReadonlyMap<string, readonly [contentType: string, text: string]> = new Map([
  ["page.css", ["text/css; charset=utf-8", style]],
  ["page.js", [javascript, page]],
  ["elements.js", [javascript, elements]],
  ["try-it.js", [javascript, tryIt]],
  ["guide.md", ["text/markdown; charset=utf-8", guide]]
])
