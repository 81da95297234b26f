-- Tables of PostgREST's tests (https://github.com/PostgREST/postgrest, test/spec/fixtures at 4834678), as far as
-- requests.jsonl needs them: without roles, functions, triggers, foreign keys and relations that need PostGIS.
-- Copyright (c) 2014-2026 The PostgREST contributors, MIT licence; see NOTICE.md.
create schema test;
create schema private;
create extension ltree;
create extension file_fdw;
set search_path = test, public;
-- What to_tsvector and to_tsquery without a configuration mean in the expected rows.
set default_text_search_config = 'english';
create table items (id bigserial primary key);
create table items2 (id bigserial primary key);
create table complex_items (id bigint not null, name text, settings json, arr_data integer[], "field-with_sep" integer default 1 not null);
create view has_count_column as select 1 as count;
create table json_table (data json);
create table no_pk (a character varying, b character varying);
create table only_pk (id integer primary key);
create table nullable_integer (a integer);
create table projects (id integer primary key, name text not null, client_id integer);
create table simple_pk (primary key (k), k character varying not null, extra character varying not null);
create table private.articles (id integer primary key, body text, owner name not null);
create view articles as select articles.id, articles.body, articles.owner from private.articles;
create table tsearch (text_search_vector tsvector);
create table "Escap3e;" ("so6meIdColumn" integer primary key);
create table "ghostBusters" ("escapeId" integer not null);
create table clashing_column (t text);
alter table only complex_items add constraint complex_items_pkey primary key (id);
create table addresses (id int not null unique, address text not null);
create table w_or_wo_comma_names (name text);
create table items_with_different_col_types (int_data integer, text_data text, bool_data bool, bin_data bytea, char_data character varying, date_data date, real_data real, time_data time);
create table entities (id integer primary key, name text, arr integer[], text_search_vector tsvector);
create table child_entities (id integer primary key, name text, parent_id integer);
create table grandchild_entities (id integer primary key, name text, parent_id integer, or_starting_col text, and_starting_col text, jsonb_col jsonb);
create table ranges (id integer primary key, range numrange);
create table employees(first_name text, last_name text, salary money, company text, occupation text, primary key(first_name, last_name));
create table tiobe_pls(name text primary key, rank smallint);
create table organizations (id integer primary key, name text, referee integer, auditor integer, manager_id integer);
create table "UnitTest"("idUnitTest" integer primary key, "nameUnitTest" text);
create table json_arr(id integer primary key, data json);
create table jsonb_test(id integer primary key, data jsonb);
create table ltree_sample (path public.ltree);
create table "Server Today"("cHostname" text, "Just A Server Model" text);
create table pgrst_reserved_chars ("*id*" integer, ":arr->ow::cast" text, "(inside,parens)" text, "a.dotted.column" text, "  col  w  space  " text);
create table loc_test (id int primary key, c text);
create table car_models(name varchar(64) not null, year int not null) partition by list (year);
alter table car_models add primary key (name, year);
alter table car_models add column car_brand_name varchar(64);
create table chores (id int primary key, name text, done bool);
create type complex as (r double precision, i double precision);
create table fav_numbers (num complex, person text);
create table arrays (id int primary key, numbers int[], numbers_mult int[][]);
create table do$llar$s (a$num$ numeric);
create domain public.titlecasetext as text;
create table designers (id int primary key, name public.titlecasetext);
create table empty_string as select 1 as id, ''::text as string;
create view bad_subquery as select * from projects where id = (select id from projects);
create domain tsvector_not_null as tsvector constraint "tsvector is required" check (value is not null);
create domain tsvector_not_empty as tsvector_not_null constraint "tsvector is required and not empty" check (value <> '');
create table tsearch_to_tsvector (text_search text, jsonb_search jsonb, text_search_domain tsvector_not_null default '', text_search_rec_domain tsvector_not_empty default '.');
create table never_prepared (id int);
create view infinite_recursion as select * from projects;
create or replace view infinite_recursion as select * from infinite_recursion;
create table car_models_2021 partition of car_models for values in (2021);
create table car_models_default partition of car_models for values in (1981, 1997, 2001, 2013);
create server import_csv foreign data wrapper file_fdw;
create foreign table projects_dump (id integer, name text, client_id integer) server import_csv
  options (program 'printf "1,Windows 7,1\n2,Windows 10,1\n3,IOS,2\n4,OSX,2\n5,Orphan,\n"', format 'csv');
insert into private.articles values
  (1, 'No… It''s a thing; it''s like a plan, but with more greatness.', 'diogo'),
  (2, 'Stop talking, brain thinking. Hush.', 'diogo'),
  (3, 'It''s a fez. I wear a fez now. Fezes are cool.', 'diogo');
insert into projects values
  (1, 'Windows 7', 1), (2, 'Windows 10', 1), (3, 'IOS', 2), (4, 'OSX', 2), (5, 'Orphan', null);
insert into complex_items values
  (1, 'One', '{"foo":{"int":1,"bar":"baz"}}', '{1}', default),
  (2, 'Two', '{"foo":{"int":1,"bar":"baz"}}', '{1,2}', default),
  (3, 'Three', '{"foo":{"int":1,"bar":"baz"}}', '{1,2,3}', 3);
insert into simple_pk values ('xyyx', 'u'), ('xYYx', 'v');
insert into items values (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);
insert into items2 values (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);
insert into json_table values ('{"foo":{"bar":"baz"},"id":1}'), ('{"id":3}'), ('{"id":0}');
insert into no_pk values (null, null), ('1', '0'), ('2', '0');
insert into nullable_integer values (null);
insert into tsearch values
  (to_tsvector('It''s kind of fun to do the impossible')),
  (to_tsvector('But also fun to do what is possible')),
  (to_tsvector('Fat cats ate rats')),
  (to_tsvector('french', 'C''est un peu amusant de faire l''impossible')),
  (to_tsvector('german', 'Es ist eine Art Spaß, das Unmögliche zu machen'));
insert into "Escap3e;" values (1), (2), (3), (4), (5);
insert into "ghostBusters" values (1), (3), (5);
insert into addresses values (1, 'address 1'), (2, 'address 2'), (3, 'address 3'), (4, 'address 4');
insert into w_or_wo_comma_names values
  ('Hebdon, John'),
  ('Williams, Mary'),
  ('Smith, Joseph'),
  ('David White'),
  ('Larry Thompson'),
  ('Double O Seven(007)'),
  ('"'),
  ('Double"Quote"McGraw"'),
  ('\'),
  ('/\Slash/\Beast/\');
insert into items_with_different_col_types values (1, null, null, null, null, null, null, null);
insert into entities values
  (1, 'entity 1', '{1}', '''bar'':2 ''foo'':1'),
  (2, 'entity 2', '{1,2}', '''baz'':1 ''qux'':2'),
  (3, 'entity 3', '{1,2,3}', null),
  (4, null, null, null);
insert into child_entities values
  (1, 'child entity 1', 1), (2, 'child entity 2', 1), (3, 'child entity 3', 2), (4, 'child entity 4', 1), (5, 'child entity 5', 1),
  (6, 'child entity 6', 2);
insert into grandchild_entities values
  (1, 'grandchild entity 1', 1, null, null, null),
  (2, 'grandchild entity 2', 1, null, null, null),
  (3, 'grandchild entity 3', 2, null, null, null),
  (4, '(grandchild,entity,4)', 2, null, null, '{"a": {"b":"foo"}}'),
  (5, '(grandchild,entity,5)', 2, null, null, '{"b":"bar"}');
insert into ranges values (1, '[1,3]'), (2, '[3,6]'), (3, '[6,9]'), (4, '[9,12]'), (5, null);
insert into employees values
  ('Frances M.', 'Roe', '24000', 'One-Up Realty', 'Author'),
  ('Daniel B.', 'Lyon', '36000', 'Dubrow''s Cafeteria', 'Packer'),
  ('Edwin S.', 'Smith', '48000', 'Pro Garden Management', 'Marine biologist');
insert into tiobe_pls values ('Java', 1), ('C', 2), ('Python', 4);
insert into only_pk values (1), (2);
insert into organizations values
  (1, 'Referee Org', null, null, 1),
  (2, 'Auditor Org', null, null, 2),
  (3, 'Acme', 1, 2, 3),
  (4, 'Umbrella', 1, 2, 4),
  (5, 'Cyberdyne', 3, 4, 5),
  (6, 'Oscorp', 3, 4, 6);
insert into "UnitTest" values (1, 'unit test 1');
insert into json_arr values
  (1, '[1, 2, 3]'),
  (2, '[4, 5, 6]'),
  (3, '[[9, 8, 7], [11, 12, 13]]'),
  (4, '[[[5, 6], 7, 8]]'),
  (5, '[{"a": "A"}, {"b": "B"}]'),
  (6, '[{"a": [1,2,3]}, {"b": [4,5]}]'),
  (7, '{"c": [1,2,3], "d": [4,5]}'),
  (8, '{"c": [{"d": [4,5,6,7,8]}]}'),
  (9, '[{"0xy1": [1,{"23-xy-45": [2, {"xy-6": [3]}]}]}]'),
  (10, '{"!@#$%^&*_a": [{"!@#$%^&*_b": 1}, {"!@#$%^&*_c": [2]}], "!@#$%^&*_d": {"!@#$%^&*_e": 3}}');
insert into jsonb_test values
  (1, '{ "a": {"b": 2} }'), (2, '{ "c": [1,2,3] }'), (3, '[{ "d": "test" }]'), (4, '{ "e": 1 }');
insert into ltree_sample values
  ('Top'),
  ('Top.Science'),
  ('Top.Science.Astronomy'),
  ('Top.Science.Astronomy.Astrophysics'),
  ('Top.Science.Astronomy.Cosmology'),
  ('Top.Hobbies'),
  ('Top.Hobbies.Amateurs_Astronomy'),
  ('Top.Collections'),
  ('Top.Collections.Pictures'),
  ('Top.Collections.Pictures.Astronomy'),
  ('Top.Collections.Pictures.Astronomy.Stars'),
  ('Top.Collections.Pictures.Astronomy.Galaxies'),
  ('Top.Collections.Pictures.Astronomy.Astronauts');
insert into car_models (name, year) values ('DeLorean',1981), ('F310-B',1997), ('Veneno',2013), ('Murcielago',2001);
insert into chores (id, name, done) values
  (1, 'take out the garbage', true), (2, 'do the laundry', false), (3, 'wash the dishes', null);
insert into fav_numbers values (row(0.5, 0.5), 'A'), (row(0.6, 0.6), 'B');
insert into arrays values
  (0, '{1,2,3}', '{{1,2,3},{4,5,6},{7,8,9}}'), (1, '{11,12,13}', '{{11,12,13},{14,15,16},{17,18,19}}');
insert into do$llar$s (a$num$) values (100), (200), (300);
insert into designers (id, name) values (1, 'Sid Meier'), (2, 'Hironobu Sakaguchi');
insert into tsearch_to_tsvector (text_search) values
  ('It''s kind of fun to do the impossible'),
  ('But also fun to do what is possible'),
  ('Fat cats ate rats'),
  ('C''est un peu amusant de faire l''impossible'),
  ('Es ist eine Art Spaß, das Unmögliche zu machen');
insert into "Server Today" values
  ('argnim1    ', ' IBM,9113-550 (P5-550)'),
  ('argnim2    ', ' IBM,9113-550 (P5-550)'),
  ('daaa2nim71 ', ' IBM,9131-52A (P5-52A)'),
  ('daah3nim71 ', ' IBM,8406-71Y (P7-PS701)'),
  ('hbnim1     ', ' IBM,9133-55A (P5-55A)');
insert into pgrst_reserved_chars values
  (1, ' arrow-1 ', ' parens-1 ', ' dotted-1 ', ' space-1'),
  (2, ' arrow-2 ', ' parens-2 ', ' dotted-2 ', ' space-2'),
  (3, ' arrow-3 ', ' parens-3 ', ' dotted-3 ', ' space-3');
update tsearch_to_tsvector set jsonb_search = jsonb_build_object('text_search', text_search),
  text_search_domain = to_tsvector('simple', text_search), text_search_rec_domain = to_tsvector('simple', text_search);
update car_models set car_brand_name = 'DMC' where name = 'DeLorean';
update car_models set car_brand_name = 'Ferrari' where name = 'F310-B';
update car_models set car_brand_name = 'Lamborghini' where name in ('Veneno', 'Murcielago');
reset search_path;
