/** Generates valid filters on all columns of the table `things`, and trees of filters. */
import * as fc from "fast-check"
import { limits } from "../../src/limits.ts"
import {
  expressions,
  fieldText,
  isFilter,
  isGroup,
  kindOf,
  operatorsOf,
  patterns,
  searches,
  type Filter,
  type Group,
  type Kind,
  type Tree
} from "./filter-model.ts"
import { names, pools, type Name } from "./filters.fixture.ts"

const texts = pools.name
export const paths: Partial<Record<Name, ReadonlyArray<Filter["path"]>>> = {
  doc: [
    [["->", "a"]],
    [["->>", "a"]],
    [
      ["->", "b"],
      ["->", 0]
    ],
    [
      ["->", "b"],
      ["->>", -1]
    ],
    [["->>", 1]],
    [
      ["->", 3],
      ["->>", "a"]
    ],
    [
      ["->", "x y"],
      ["->>", 0]
    ],
    [
      ["->", "a"],
      ["->", "b"]
    ],
    [["->>", 'it\'s, ("so")']]
  ],
  tags: [[["->", 0]], [["->>", -1]]],
  labels: [[["->>", 0]]]
}
const regular = [
  "a",
  "^a",
  "b$",
  "[a-c]+",
  ".",
  String.raw`^\w*$`,
  "(?i)AB",
  "a|b",
  "^$",
  String.raw`\(`,
  "a,b",
  String.raw`"`,
  "a{1}"
]
const queries: Readonly<Record<string, ReadonlyArray<string>>> = {
  fts: ["cat", "cat & dog", "cat | !dog", "ca:*", "'a b'", "(a | cats) & !b", "dog <-> cat"],
  others: ["cat", "a cat and a dog", "cats or dogs", '"a dog"', "-cat", "it's", "(a,b)", "", String.raw`\ {1}`]
}
export const isQuantifiable = (kind: Kind, operator: string) => kind !== "array" && /^(eq|[gl]te?|i?like|i?match)$/.test(operator)
const looksOperated = (text: string) => text === "" || /^[a-z_]+(\([^()]*\))?\./i.test(text)
// A text that ends in a backslash is no pattern. Other tests expect it to be refused.
const pattern = (value: fc.Arbitrary<string>) =>
  fc
    .tuple(
      fc.constantFrom("", "*", "%", "_", "\\%"),
      value.filter((text) => !text.includes("\\")),
      fc.constantFrom("", "*", "\\\\")
    )
    .map((parts) => parts.join(""))

const onName: fc.Arbitrary<Pick<Filter, "name" | "path">> = fc
  .constantFrom(...names)
  .chain((name) => fc.constantFrom([], ...(paths[name] ?? [])).map((path) => ({ name, path })))

const aFilter: fc.Arbitrary<Filter> = onName.chain(({ name, path }) => {
  const kind = kindOf({ name, path })
  return fc.constantFrom(...operatorsOf[kind]).chain((operator) => {
    const pool: ReadonlyArray<string> = path.length === 0 ? pools[name] : kind === "text" ? [...texts, "x,y", "1"] : pools.doc
    const value = fc.constantFrom(...pool)
    const isSearch = searches.includes(operator)
    const one = isSearch
      ? fc.constantFrom(...queries[operator === "fts" ? "fts" : "others"]!)
      : expressions.includes(operator)
        ? fc.constantFrom(...regular)
        : patterns.includes(operator)
          ? pattern(value)
          : operator === "is"
            ? fc.constantFrom("null", "not_null", ...(name === "flag" ? ["true", "false", "unknown"] : []))
            : value
    const quantifier = isQuantifiable(kind, operator)
      ? fc.constantFrom(undefined, undefined, "any" as const, "all" as const)
      : fc.constant(undefined)
    const language = isSearch ? fc.constantFrom(undefined, "english", "simple", "german") : fc.constant(undefined)
    return fc.tuple(quantifier, language, fc.boolean(), fc.boolean()).chain(([quantified, spoken, not, maybe]) => {
      const isList = operator === "in" || quantified !== undefined
      return fc.array(one, { minLength: isList ? 0 : 1, maxLength: isList ? 4 : 1 }).map((values) => ({
        name,
        path,
        not,
        operator,
        quantifier: quantified,
        language: spoken,
        values,
        bare: maybe && operator === "eq" && quantified === undefined && !not && !looksOperated(values[0]!)
      }))
    })
  })
})

/** A bare value cannot be one of several values of a parameter in a query. */
const isAlone = (trees: ReadonlyArray<Tree>) => {
  const fields = trees.filter(isFilter).map(fieldText)
  return trees.every((tree) => isGroup(tree) || !tree.bare || fields.filter((one) => one === fieldText(tree)).length === 1)
}
export const someFilters: fc.Arbitrary<ReadonlyArray<Filter>> = fc.array(aFilter, { minLength: 1, maxLength: 3 }).filter(isAlone)

const { group } = fc.letrec<{ tree: Tree; group: Group }>((tie) => ({
  tree: fc.oneof({ maxDepth: 4, depthSize: "small", withCrossShrink: true }, aFilter, tie("group")),
  group: fc.record({
    not: fc.boolean(),
    operator: fc.constantFrom("and" as const, "or" as const),
    trees: fc.array(tie("tree"), { minLength: 1, maxLength: 4 })
  })
}))
const sizeOf = (tree: Tree): number => (isGroup(tree) ? tree.trees.reduce((sum, one) => sum + sizeOf(one), 1) : 1)
/** Generates the filters and groups of a request, no more than it may have. At least one is a group. */
export const someTrees: fc.Arbitrary<ReadonlyArray<Tree>> = fc
  .tuple(group, fc.array(fc.oneof(aFilter, group), { maxLength: 2 }))
  .map(([first, more]) => [first, ...more])
  .filter((trees) => isAlone(trees) && trees.reduce((sum, one) => sum + sizeOf(one), 0) <= limits.filterNodes)
