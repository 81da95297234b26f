import type { SourceSession } from "../source/session.ts"
import type { CsvLayout } from "./export-bytes.ts"

/**
 * Returns the database's own encoding and the header in it. The session stays in UTF-8, in which statements are sent;
 * COPY has an option for the encoding of its output.
 */
export const rawLayout = async (
  session: SourceSession,
  layout: CsvLayout
): Promise<CsvLayout & { readonly encoding: string }> => {
  const [row] = await session.query<{ readonly encoding: string; readonly header: ReadonlyArray<string> }>({
    text: `
      select current_setting('server_encoding') as encoding, coalesce((
        select json_agg(encode(convert_to(title, current_setting('server_encoding')), 'hex') order by ordinality)
        from json_array_elements_text($1::text::json) with ordinality titles (title, ordinality)
      ), '[]') as header`,
    values: [JSON.stringify(layout.header ?? [])]
  })
  const { encoding, header } = row!
  return { ...layout, encoding, header: layout.header && header.map((title) => Buffer.from(title, "hex")) }
}
