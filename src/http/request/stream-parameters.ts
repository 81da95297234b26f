import { Schema } from "effect"
import { described, Text, TrueOrFalse } from "../../exports/parameter-values.ts"
import { limits } from "../../limits.ts"

/** What a stream may be asked beside the parameters of an export. */
export const StreamParameters = Schema.Struct({
  apiKey: Schema.optionalWith(
    described(
      Text.annotations({ jsonSchema: { type: "string", maxLength: limits.apiKeyChars } }),
      "The key whose requests are counted together; the header `X-API-Key` may have it, too."
    ),
    { exact: true }
  ),
  errorRow: Schema.optionalWith(
    described(TrueOrFalse, 'Whether a file that breaks off ends with the line `"__ERROR__","internal_server_error"`.'),
    { exact: true }
  )
})
