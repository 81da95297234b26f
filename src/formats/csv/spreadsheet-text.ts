import type { Format } from "../format.ts"

/**
 * Recognizes text that a spreadsheet would change when it opens a file. The regular expressions mean the same to
 * PostgreSQL and JavaScript: they use no class that depends on a locale, and escapes for characters other than ASCII.
 * What LibreOffice recognizes was tried with its English, German, French, Swedish, Swiss and Japanese locales.
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 * @see https://support.microsoft.com/en-us/office/stop-automatically-changing-numbers-to-dates-452bd2db-cc96-47d1-81e4-72cec11c4ed8
 * @see https://help.libreoffice.org/latest/en-US/text/shared/00/00000208.html
 */
const BLANKS = String.raw`\u0009-\u000d \u0085\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff`
const BLANK = `[${BLANKS}]`
/** Matches European, Arabic, Persian and full-width digits. */
const DIGITS = String.raw`0-9\u0660-\u0669\u06f0-\u06f9\uff10-\uff19`
const DIGIT = `[${DIGITS}]`
const CURRENCY = String.raw`$\u00a2-\u00a5\u20a0-\u20cf\ufe69\uff04\uffe0\uffe1\uffe5\uffe6`
/** Matches the marks that numbers have in any country, so that the rule does not depend on where the file is opened. */
const MARKS = String.raw`.,%()\u2019\u066a-\u066c\uff05\uff08\uff09\uff0c\uff0e${CURRENCY}${BLANKS}`
const SIGNS = String.raw`+\u2212\uff0b\uff0d-`
/** Contains the apostrophe, with which Swiss numbers group their digits. */
const REST = String.raw`[${DIGITS}${MARKS}']*`

/** Matches text that is computed, also after full-width characters. A tab or a line end hides what follows it. */
const FORMULA = String.raw`([\t\r\n]|${BLANK}*[=@\uff1d\uff20${SIGNS}])`

const EXPONENT = `${REST}([eE]${BLANK}*[${SIGNS}]?${BLANK}*${DIGIT}${REST})?`
const FRACTION = `${REST}${BLANK}${DIGIT}+${BLANK}*/${BLANK}*${DIGIT}${REST}`
const TRUTH = `([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])${BLANK}*`
/** Matches the error of a cell, which is `#N/A` or ends as `#REF!` and `#NAME?` do. */
const ERROR = `#([nN]/[aA]|[A-Za-z0/_]+[!?])${BLANK}*`
const NUMBER = `(([${MARKS}${SIGNS}][${MARKS}'${SIGNS}]*)?${DIGIT}(${EXPONENT}|${FRACTION})[${MARKS}${SIGNS}]*|${BLANK}*(${TRUTH}|${ERROR}))`

const LETTER = String.raw`[^\u0001-\u0040\u005b-\u0060\u007b-\u007f]`
const SEPARATOR = `[0-9/:${MARKS}${SIGNS}]`
/**
 * Matches a date or a time in any language if the text contains a digit. It may have words of one or two letters (`T`,
 * `PM`, `de`) and one longer word, or two if it begins with a weekday.
 */
const DATE =
  `(${LETTER}+[,.]?${BLANK}+)?${SEPARATOR}*(${LETTER}{1,2}${SEPARATOR}+)*` +
  `(${LETTER}+(${SEPARATOR}+${LETTER}{1,2})*${SEPARATOR}*)?`

/**
 * Allows any number of apostrophes before the text. Marking adds one more, so that taking one away always gives the
 * value; apostrophes before other text stay as they are.
 */
const after = (text: string) => `^'*(${text})`

/**
 * The expressions are tested one by one: as lookaheads of a single one they take PostgreSQL twice the time. A whole
 * number of up to 15 digits is not marked, since spreadsheets write it as they read it.
 */
export const spreadsheetText = {
  formula: after(FORMULA),
  formulaOrNumber: after(`${FORMULA}|${NUMBER}$`),
  /** Matches everything that begins with a letter and matches `formulaOrNumber`. */
  truth: after(`${TRUTH}$`),
  digit: DIGIT,
  date: after(`${DATE}$`),
  whole: after("(0|[1-9][0-9]{0,14})$")
} as const

type Marks = Pick<Format, "formulas" | "longNumbers">

/** Says which text is marked: only formulas, also numbers, or also dates. */
export const markedText = ({ formulas, longNumbers }: Marks) => {
  if (formulas === "keep") return undefined
  if (formulas === "escape-all") return "dates"
  return longNumbers === "text" ? "numbers" : "formulas"
}

/** Marks text that is not a value of the database, such as a label, by the same rule. */
export const markText = (text: string, marks: Marks): string => {
  const kind = markedText(marks)
  const is = (test: keyof typeof spreadsheetText) => new RegExp(spreadsheetText[test], "u").test(text)
  const marked =
    kind === "formulas"
      ? is("formula")
      : kind && (is("formulaOrNumber") || (kind === "dates" && is("digit") && is("date"))) && !is("whole")
  return marked ? `'${text}` : text
}
