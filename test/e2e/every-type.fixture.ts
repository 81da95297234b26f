/** Tables with a column of every type of PostgreSQL, and of some types of every kind that users can create. */
import type postgres from "postgres"

/** A number with 1,000 digits before the point and as many after it. */
const DIGITS = `-${"1234567890".repeat(100)}.${"0987654321".repeat(100)}`
const MEGABYTE = 1 << 20

/** Values of the types of the catalog, as their input functions read them. Nobody can write a value of a type that is missing. */
const values: Readonly<Record<string, ReadonlyArray<string>>> = {
  aclitem: ["=r/sluice", "sluice=arwdDxt/sluice"],
  bit: ["0", "1"],
  bool: ["t", "f"],
  box: ["(3,4),(1,2)", "(Infinity,1e300),(-0,-Infinity)"],
  bpchar: ["a  ", "", "  ", "é,😀"],
  bytea: [String.raw`\x`, String.raw`\x00ff2c220a0d5c2e`, String.raw`\x27`],
  cardinal_number: ["0", "2147483647"],
  char: ["a", "", ",", '"', String.raw`\377`, String.raw`\012`],
  character_data: ["", "a,b", "Ωmega"],
  cid: ["0", "4294967295"],
  cidr: ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"],
  circle: ["<(1,2),3>", "<(NaN,Infinity),Infinity>"],
  date: ["2024-02-29", "infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "5874897-12-31"],
  datemultirange: ["{}", "{[2024-01-01,2024-02-01),[2025-01-01,)}", "{(,)}"],
  daterange: ["empty", "[2024-01-01,2024-01-31]", "(,infinity]", '["0044-03-15 BC",)'],
  float4: ["NaN", "Infinity", "-Infinity", "-0", "1.17549435e-38", "3.4028235e38", "0.1", "1e-45"],
  float8: ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1", "1e21"],
  inet: ["10.0.0.1", "10.0.0.1/8", "::1", "::ffff:1.2.3.4/96"],
  int2: ["-32768", "0", "32767"],
  int2vector: ["", "1 -2 3"],
  int4: ["-2147483648", "0", "2147483647"],
  int4multirange: ["{}", "{[1,2),[5,7)}", "{(,1),[9,)}"],
  int4range: ["empty", "[1,5]", "(,)"],
  int8: ["-9223372036854775808", "0", "9223372036854775807"],
  int8multirange: ["{}", "{[1,9223372036854775807)}"],
  int8range: ["empty", "(-9223372036854775808,1]", "[1,)"],
  interval: ["infinity", "-infinity", "0", "-178000000 years", "1 year -2 mons 3 days -04:05:06.789", "-00:00:00.000001"],
  json: ["null", '{"b" : 1, "a":[ "x,y", null ],\n "b": 2}', '"\\u00e9"', " 1 ", "1e400"],
  jsonb: ["null", '{"b": 1, "a": ["x,y", null, "\\"" ], "": {}}', "12345678901234567890.10", '"\\n"'],
  jsonpath: ['$."a,b"[*] ? (@.c == "d")', "strict $"],
  line: ["{1,2,3}", "{-1,0,1e-300}"],
  lseg: ["[(1,2),(3,4)]", "[(NaN,-0),(Infinity,0.1)]"],
  macaddr: ["08:00:2b:01:02:03", "ff-ff-ff-ff-ff-ff"],
  macaddr8: ["08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03"],
  money: ["-92233720368547758.08", "0", "1234567.89"],
  name: ["a", "", "n,".repeat(31), "é\n"],
  numeric: ["NaN", "Infinity", "-Infinity", "0.00", "-1e-16383", "1e131071", "12345678901234567890.10", DIGITS],
  nummultirange: ["{}", "{[1.10,2),(3,Infinity)}"],
  numrange: ["empty", "[1.10,2]", "(-Infinity,NaN]"],
  oid: ["0", "4294967295"],
  oidvector: ["", "1 4294967295"],
  path: ["[(1,2),(3,4)]", "((1,2),(3,4),(-0,1e-9))"],
  pg_lsn: ["0/0", "FFFFFFFF/FFFFFFFF"],
  pg_snapshot: ["10:20:10,14,15", "1:1:"],
  point: ["(1,-0)", "(Infinity,NaN)", "(0.1,1e-300)"],
  polygon: ["((0,0),(1,1),(1,0))", "((1,2))"],
  refcursor: ["a,b", "", "<unnamed portal 1>"],
  regclass: ["-", "pg_class", "information_schema.tables", "4294967295"],
  regcollation: ["-", '"C"', "99999999"],
  regconfig: ["-", "english", "simple"],
  regdictionary: ["-", "simple", "english_stem"],
  regnamespace: ["-", "pg_catalog", "public"],
  regoper: ["0", "||/", "99999999"],
  regoperator: ["0", "+(integer,integer)", "!!(none,tsquery)", "@@(text,text)"],
  regproc: ["-", "pg_sleep", "now", "99999999"],
  regprocedure: ["-", "sum(integer)", 'format(text,"any")', "pg_catalog.now()"],
  regrole: ["-", "pg_read_all_data"],
  regtype: ["-", "timestamp with time zone", "integer[]", '"char"'],
  sql_identifier: ["a b", 'a"b'],
  text: ["", "NULL", String.raw`\.`, "a,b", '"', "\r\n", "\t ", "é😀\u0301", "x".repeat(MEGABYTE), '",\n'.repeat(MEGABYTE / 3)],
  tid: ["(0,0)", "(4294967295,65535)"],
  time: ["00:00:00", "24:00:00", "23:59:59.999999"],
  time_stamp: ["2024-02-29 12:00:00+05", "infinity"],
  timestamp: ["infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-02-29 12:00"],
  timestamptz: [
    "infinity",
    "-infinity",
    "4714-11-24 00:00:00+00 BC",
    "294276-12-31 23:59:59.999999+00",
    "2024-02-29 12:00-13:30"
  ],
  timetz: ["00:00:00+15:59:59", "24:00:00-15:59:59", "12:00:00.000001+05:30"],
  tsmultirange: ["{}", '{["2024-01-01 00:00","2024-01-02 00:00")}'],
  tsquery: ["", "'a,b' & !c:*AB | d <2> e", "'it''s'"],
  tsrange: ["empty", "[2024-01-01 00:00,infinity]", "(,)"],
  tstzmultirange: ["{}", '{[-infinity,"2024-01-02 00:00+05")}'],
  tstzrange: ["empty", "[2024-01-01 00:00-05,)", '("4714-11-24 00:00:00+00 BC",infinity]'],
  tsvector: ["", "'a,b':1A,2 'c\"d' 'it''s':16383"],
  txid_snapshot: ["10:20:10,14,15"],
  uuid: ["00000000-0000-0000-0000-000000000000", "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}"],
  varbit: ["", "10101", "1".repeat(1000)],
  varchar: ["", "a,b", " "],
  xid: ["0", "4294967295"],
  xid8: ["0", "18446744073709551615"],
  xml: ['<a b="c">,</a>', '<?xml version="1.0"?>\n<a/>', "text &amp; more", ""],
  yes_or_no: ["YES", "NO"]
}

/** Types that users create: the type of a column, and its values. */
const made: Readonly<Record<string, ReadonlyArray<string>>> = {
  "odd.mood": ["sad", 'so "so"', "a,b", ""],
  "odd.pair": ["(,,)", String.raw`(-1,"a,\"b\"","{1.10,NULL}")`, '(2,"","{}")'],
  "odd.nested": [String.raw`("(1,\"a b\",)","{""(2,x,)"",NULL}")`, "(,)"],
  "odd.price": ["0.00", "99.95", "NaN"],
  "odd.dear": ["100.5"],
  "odd.numbers": ["{}", "{1,NULL,3}", "[0:1]={1,2}"],
  "odd.texts": ["empty", '["a,b",c]', '("",)'],
  "odd.many_texts": ["{}", '{[a,"b,"),[c,)}'],
  constructor: ["a", "b"],
  ["__proto__"]: ["a"],
  'odd."integer"': ["one"],
  "odd.mood[]": ["{}", '{sad,NULL,"a,b",""}', '{{sad},{"so \\"so\\""}}'],
  "odd.pair[]": [String.raw`{"(1,\"a,b\",)",NULL}`],
  "odd.price[]": ["{99.95,NULL}"],
  "odd.numbers[]": [String.raw`{"{1,2}","{}",NULL}`],
  "odd.texts[]": [String.raw`{empty,"[a,\"b,\"]"}`],
  "numeric(1000,500)": [`${"9".repeat(500)}.${"1".repeat(500)}`, "-0.1"],
  "numeric(3,-2)": ["12345"],
  "numeric(2,4)": ["0.0012"],
  "char(7)": ["", "a,b", " a"],
  "varchar(3)": ["", "a,b"],
  "bit(7)": ["1010101"],
  "varbit(7)": ["", "101"],
  "time(3)": ["12:00:00.1235"],
  "timestamptz(0)": ["2024-02-29 12:00:00.5+00", "infinity"],
  "interval day to second(2)": ["1 day 02:03:04.567", "infinity"],
  "interval year": ["-3 years"],
  "text[]": ["{}", String.raw`{a,"b,c","\"","",NULL,"NULL"," ","\\","{}"}`, '{{"x","y\n"},{"",NULL}}', "[-2:-1][3:3]={{a},{b}}"],
  "integer[][]": ["{{{1,2}},{{3,NULL}}}"],
  "char(3)[]": ["{a,NULL,abc}"],
  "numeric(5,1)[]": ["{1.25,NaN}"]
}

/** Values of the catalog that no input function accepts. */
const stored: Readonly<Record<string, string>> = {
  pg_node_tree: "(select ev_action from pg_rewrite order by oid limit 1)",
  pg_ndistinct: "(select stxdndistinct from pg_statistic_ext_data)",
  pg_dependencies: "(select stxddependencies from pg_statistic_ext_data)",
  pg_mcv_list: "(select stxdmcv from pg_statistic_ext_data)"
}

const prepare = String.raw`
  create schema odd;
  create type odd.mood as enum ('sad', 'so "so"', 'a,b', '');
  create type odd.pair as (a int, "b,c" text, d numeric[]);
  create type odd.nested as (first odd.pair, more odd.pair[]);
  create domain odd.price as numeric(12, 2) check (value >= 0);
  create domain odd.dear as odd.price check (value > 100);
  create domain odd.numbers as int[] check (cardinality(value) < 5);
  create type odd.texts as range (subtype = text, multirange_type_name = odd.many_texts);
  create type public."constructor" as enum ('a', 'b');
  create type public."__proto__" as enum ('a');
  create type odd."integer" as enum ('one');
  create table odd.counted as select n % 3 as a, n % 3 as b from generate_series(1, 100) n;
  create statistics odd.of_it on a, b from odd.counted;
  analyze odd.counted`

/** A type of the catalog that a column may have. The element of an array may be the type of a table's rows. */
interface CatalogType {
  readonly name: string
  readonly type: string
  readonly element: string | null
  readonly elementType: string | null
  readonly table: string | null
}

/** No column may have these types: a string of C, and rows with an array of any type. */
const catalogTypes = (sql: postgres.Sql) => sql<ReadonlyArray<CatalogType>>`
  select t.typname as name, t.oid::regtype::text as type, e.typname as element, e.oid::regtype::text as "elementType",
    (select c.oid::regclass::text from pg_class c where c.oid = e.typrelid and c.relkind = 'r') as "table"
  from pg_type t left join pg_type e on e.typarray = t.oid
  where t.typnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    and t.typtype in ('b', 'r', 'm', 'd') and t.typelem <> 'cstring'::regtype
    and not exists (select from pg_attribute a where a.attrelid = e.typrelid and a.atttypid in ('anyarray'::regtype, 'pg_statistic[]'::regtype))
  order by t.typname`

export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`
const cast = (type: string) => (value: string) => `${literal(value)}::${type}`

interface Column {
  readonly name: string
  readonly type: string
  /** Values in SQL. */
  readonly values: ReadonlyArray<string>
}

const plainColumn = ({ name, type }: CatalogType): Column => ({
  name,
  type,
  values: stored[name] ? [stored[name]] : (values[name] ?? []).map(cast(type))
})

/** Arrays without items, of all values and NULL, of two dimensions, and with indices that do not begin with 1. */
const arrayColumn = ({ name, type, element, elementType, table }: CatalogType): Column => {
  if (table !== null) {
    const rows = `(select array_agg(r) from (select t from ${table} t limit 2) rows (r))`
    return { name, type, values: [cast(type)("{}"), rows] }
  }
  const items = (values[element!] ?? []).filter(({ length }) => length < MEGABYTE / 2).map(cast(elementType!))
  const [first, second = first] = items
  const all = `array[${[...items, "null"].join()}]::${type}`
  const others = [
    all,
    `array[[${first}, null], [null, ${second}]]::${type}`,
    `('[-1:${items.length - 1}]=' || ${all}::text)::${type}`
  ]
  return { name, type, values: [cast(type)("{}"), ...(first === undefined ? [] : others)] }
}

/** Makes as many rows as the column with the most values needs, and one row with NULL in all columns. */
const fill = async (sql: postgres.Sql, table: string, columns: ReadonlyArray<Column>) => {
  await sql.unsafe(`create table ${table} (${columns.map(({ name, type }) => `${identifier(name)} ${type}`).join()})`)
  const rows = Math.max(...columns.map((column) => column.values.length)) + 1
  for (let row = 0; row < rows; row++)
    await sql.unsafe(`insert into ${table} values (${columns.map((column) => column.values[row] ?? "null").join()})`)
}

/** Creates the tables `odd.plain`, `odd.arrays` and `odd.made`. Returns the types for which there is no value. */
export const createEveryType = async (sql: postgres.Sql): Promise<ReadonlyArray<string>> => {
  await sql.unsafe(prepare)
  const types = await catalogTypes(sql)
  const plain = types.filter(({ element }) => element === null).map(plainColumn)
  await fill(sql, "odd.plain", plain)
  await fill(sql, "odd.arrays", types.filter(({ element }) => element !== null).map(arrayColumn))
  const columns = Object.entries(made).map(([type, texts]): Column => ({ name: type, type, values: texts.map(cast(type)) }))
  await fill(sql, "odd.made", columns)
  return plain.filter((column) => column.values.length === 0).map(({ name }) => name)
}
