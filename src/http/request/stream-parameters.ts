import { Schema } from "effect"
import { described, Text, TrueOrFalse } from "../../exports/parameter-values.ts"
import { limits } from "../../limits.ts"

export const KEY_TOO_LONG = `must have at most ${limits.apiKeyChars} characters`

/** What a stream may be asked beside the parameters of an export. */
export const StreamParameters = Schema.Struct({
  apiKey: Schema.optionalWith(
    described(
      Text.pipe(Schema.minLength(1), Schema.maxLength(limits.apiKeyChars, { message: () => KEY_TOO_LONG })),
      "The key whose requests are counted together; the header `X-API-Key` may have it, too."
    ),
    { exact: true }
  ),
  errorRow: Schema.optionalWith(
    described(TrueOrFalse, 'Whether a file that breaks off ends with the line `"__ERROR__","internal_server_error"`.'),
    { exact: true }
  )
})
