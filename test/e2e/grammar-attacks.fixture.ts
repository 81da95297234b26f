/** Attempts to be more than a value, by the grammar of filters, columns and orders. */
import * as fc from "fast-check"
import { isQuantifiable, paths } from "./filter-arbitraries.ts"
import { expressions, kindOf, operatorsOf, searches, type Filter, type Group, type Tree } from "./filter-model.ts"
import { field, names, pools, type Name } from "./filters.fixture.ts"

const split = (text: string) => text.split("~")
const fragments = [
  ...split(
    String.raw`'~''~"~""~\~\'~\"~\\~;~--~/*~*/~(~)~)(~((~,~:~::~.~..~=~*~%~$1~$$~$q$~{~}~{}~[~]~->~->>~@>~|~&~!~?~#~<~>~~`
  ),
  ...split(
    String.raw`e'~E'\x27'~U&'\0027'~\u0027~\u0022~%27~%22~&#39;~ʼ~＇~＂~０~in.(~eq.~not.~or(~and(~not.or(~any~(any)~(all)~fts(~null~nullslast`
  ),
  ...split("or 1=1~and true~is null~desc~limit 1~offset 5~id~secret~things~shop~ctid~xmin~tableoid~*~id, secret~t.*~row_to_json"),
  ...split(
    "union select word from shop.canary~(select word from shop.canary)~'; drop table shop.canary; --~) or (1=1~)) or ((1=1"
  ),
  ...split(
    "pg_sleep(1)~version()~pg_read_file('/etc/passwd')~copy (select 1) to program 'true'~english'::regconfig~pg_catalog.simple"
  ),
  ...split(
    'english, (select 1)~::text~::regclass~collate "C"~operator(pg_catalog.=)~__proto__~constructor~\t~\n~\r\n~\u00a0~\u2028~😀~e\u0301'
  ),
  ...split("2147483648~-0~1e9~0x1~NaN~infinity~now~today")
]
const hostile = fc
  .array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 4 })
  .chain((parts) => fc.constantFrom("", " ").map((between) => parts.join(between)))

export interface GrammarAttack {
  readonly query?: string
  readonly body?: object
}

/** Fragments for the places where a name, a path, a key, a language, a quantifier, a value or a list is read or ends. */
export const grammarAttack: fc.Arbitrary<GrammarAttack> = fc
  .record({
    text: hostile,
    other: hostile,
    name: fc.constantFrom(...names),
    group: fc.constantFrom("or", "and", "not.or", "not.and"),
    operator: fc.constantFrom(...new Set(Object.values(operatorsOf).flat()))
  })
  .chain(({ text, other, name, group, operator }) => {
    const escaped = text.replaceAll(/["\\]/g, String.raw`\$&`)
    const queries = [
      field(group, text),
      field(group, `(${text})`),
      field(group, `(${text}.eq.1)`),
      field(group, `("${text}".eq.1)`),
      field(group, `(name.${text}.1)`),
      field(group, `(name.${operator}.${text})`),
      field(group, `(name.${operator}."${text}")`),
      field(group, `(name.${operator}."${escaped}",${other})`),
      field(group, `(name.in.(${text}),id.gt.1)`),
      field(group, `(name.in.("${text}","${other}"))`),
      field(group, `(labels.cs.{${text}})`),
      field(group, `(id.eq.1,${group}(${text}))`),
      field(group, `(id.eq.1)${text}`),
      field(group, `${text}(id.eq.1)`),
      field(group, `(doc->${text}.eq.1)`),
      field(group, `(doc->>"${text}".eq.${other})`),
      field(`${text}.${group}`, "(id.eq.1)"),
      field(`not.${text}`, "(id.eq.1)"),
      field(`doc->${text}`, "eq.1"),
      field(`doc->>"${text}"`, `${operator}.${other}`),
      field(`doc->a->${text}->>0`, "is.null"),
      field(`tags->${text}`, "eq.1"),
      field(`${name}->>${text}`, "eq.1"),
      field(`"${text}"->a`, "eq.1"),
      field(name, `${operator}(${text}).a`),
      field(name, `not.${operator}(any).${text}`),
      field(name, `${operator}(all).{${text}}`),
      field("name", `like(any).{"${escaped}",a}`),
      field("name", `match.${text}`),
      field("name", `fts(${text}).cat`),
      field("words", `plfts(english${text}).cat`),
      field("words", `fts.${text}`),
      field("words", `wfts(simple).${text}`),
      field("span", `adj.${text}`),
      field("labels", `ov.{"${escaped}"}`),
      field("doc", `cs.{"a": "${escaped}"}`),
      field("flag", `is.${text}`),
      field("columns", `doc->${text}`),
      field("columns", `doc->>a:${text}`),
      field("columns", `doc->"${text}":"x"`),
      field("order_by", `doc->>${text}.desc`),
      field("order_by", `name.${text}`),
      field("order_by", `-"${text}".desc`),
      field("order_by", `name.desc.nulls${text}`)
    ]
    const wheres = [
      { [group]: [{ [text]: "eq.1" }] },
      { [group]: [{ name: text }, { name: `${operator}.${other}` }] },
      { [group]: [{ [`doc->${text}`]: "eq.1" }, { id: "gt.1" }] },
      { [group]: [{ name: [text, other], [group]: [{ id: text }] }] },
      { [group]: text },
      { [group]: [text] },
      { [group]: { id: text } },
      { [text]: [{ id: "eq.1" }] },
      { [`doc->>"${text}"`]: `eq.${other}` },
      { [name]: `${operator}(${text}).${other}` }
    ]
    return fc.constantFrom<GrammarAttack>(
      ...queries.map((query) => ({ query })),
      ...wheres.map((where) => ({ body: { where } })),
      { body: { order_by: [text, `name.${other}`] } },
      { body: { columns: [`doc->${text}`, { name: `doc->>"${other}"`, label: text }] } }
    )
  })

const textColumns: ReadonlyArray<Name> = ["name", 'odd "name", x', "code"]
const hostileFilter: fc.Arbitrary<Filter> = fc
  .record({ text: hostile, other: hostile, not: fc.boolean(), name: fc.constantFrom(...textColumns) })
  .chain(({ text, other, not, name }) => {
    const one = { name, path: [], not, quantifier: undefined, language: undefined, bare: false }
    const pattern = text.replaceAll("\\", "\\\\")
    return fc.constantFrom<Filter>(
      ...["eq", "neq", "gt", "lte", "isdistinct"].map((operator) => ({ ...one, operator, values: [text] })),
      { ...one, operator: "in", values: [text, other, pools.name[1]!] },
      { ...one, operator: "like", values: [`*${pattern}*`] },
      { ...one, operator: "eq", quantifier: "any", values: [text, other] },
      { ...one, operator: "ilike", quantifier: "all", values: [`*${pattern}*`, "*"] },
      { ...one, operator: "plfts", language: "simple", values: [text] },
      { ...one, operator: "wfts", language: "english", values: [text] },
      { ...one, name: "doc", path: [["->>", text]], operator: "neq", values: [other] },
      {
        ...one,
        name: "doc",
        path: [
          ["->", "a"],
          ["->", text],
          ["->>", 0]
        ],
        operator: "is",
        values: ["null"]
      },
      { ...one, name: "labels", operator: "ov", values: [`{"${text.replaceAll(/["\\]/g, String.raw`\$&`)}","a"}`] },
      { ...one, name: "doc", operator: "cs", values: [JSON.stringify({ a: text })] }
    )
  })

/** The same fragments as correctly written values and keys, where each is only a value or a key. */
export const hostileTrees: fc.Arbitrary<ReadonlyArray<Tree>> = fc
  .record({
    not: fc.boolean(),
    operator: fc.constantFrom<Group["operator"]>("and", "or"),
    trees: fc.array(hostileFilter, { minLength: 1, maxLength: 4 })
  })
  .chain((group) =>
    fc.constantFrom<ReadonlyArray<Tree>>([group], [group.trees[0]!], [{ ...group, trees: [group, ...group.trees] }])
  )

/** Harmless filters: each operator on a column and on each path in it, negated and not, with each quantifier and a language. */
export const harmlessFilters = (name: Name): ReadonlyArray<ReadonlyArray<Filter>> =>
  [[], ...(paths[name] ?? [])].flatMap((path) => {
    const kind = kindOf({ name, path })
    const pool: ReadonlyArray<string> = path.length === 0 ? pools[name] : kind === "text" ? ["a", "b"] : ["1", "2"]
    const all = operatorsOf[kind].flatMap((operator) => {
      const isSearch = searches.includes(operator)
      const value = operator === "is" ? "null" : isSearch ? "cat" : expressions.includes(operator) ? "a" : pool[1]!
      const values = operator === "in" ? [pool.at(-1)!, pool[0]!] : [value]
      const one = { name, path, not: false, operator, quantifier: undefined, language: undefined, values, bare: false }
      const modified: ReadonlyArray<Filter> = [
        one,
        ...(isSearch ? [{ ...one, language: "english" }] : []),
        ...(operator === "in" ? [{ ...one, values: [] }] : []),
        ...(isQuantifiable(kind, operator)
          ? (["any", "all"] as const).flatMap((quantifier) => [
              { ...one, quantifier, values: [value, pool[0]!.replace(/^$/, "a")] },
              { ...one, quantifier, values: [] }
            ])
          : [])
      ]
      return modified.flatMap((filter) => [filter, { ...filter, not: true }])
    })
    return [all.slice(0, 90), all.slice(90)].filter(({ length }) => length > 0)
  })
