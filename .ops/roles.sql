-- The roles of Sluice in the database of docker-compose.yml, made or brought up to date by psql as the superuser at each
-- `docker compose up`, so that an existing volume gets them, too. Variables: service_password, source_password.
\set ON_ERROR_STOP on
begin;

-- Owns Sluice's own schemas and the demo: DATABASE_URL.
select 'create role sluice_service' where to_regrole('sluice_service') is null \gexec
alter role sluice_service nosuperuser nocreatedb nocreaterole noreplication nobypassrls login password :'service_password';
-- Reads what is exported: SOURCE_DATABASE_URL.
select 'create role sluice_source' where to_regrole('sluice_source') is null \gexec
alter role sluice_source nosuperuser nocreatedb nocreaterole noreplication nobypassrls login password :'source_password';

select format('grant connect, create, temporary on database %I to sluice_service', current_database()) \gexec
grant usage, create on schema public to sluice_service;
grant usage on schema public to sluice_source;
alter default privileges for role sluice_service in schema public grant select on tables to sluice_source;

-- What earlier versions made as the superuser.
select format('alter schema %I owner to sluice_service', nspname)
from pg_namespace where nspname in ('sluice', 'sluice_queue') and pg_get_userbyid(nspowner) = current_user \gexec
select format('alter %s %I.%I owner to sluice_service',
  case relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view' else 'table' end, nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where pg_get_userbyid(relowner) = current_user and relkind in ('r', 'p', 'S', 'v', 'm')
  and (nspname in ('sluice', 'sluice_queue') or (nspname = 'public' and relname = 'users'))
  -- A sequence of a column goes with its table.
  and not (relkind = 'S' and exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid
    and deptype in ('a', 'i') and refclassid = 'pg_class'::regclass)) \gexec
select format('alter routine %s owner to sluice_service', p.oid::regprocedure)
from pg_proc p join pg_namespace n on n.oid = pronamespace
where pg_get_userbyid(proowner) = current_user and nspname in ('sluice', 'sluice_queue') \gexec
select format('alter type %I.%I owner to sluice_service', nspname, typname)
from pg_type t join pg_namespace n on n.oid = typnamespace
where pg_get_userbyid(typowner) = current_user and nspname in ('sluice', 'sluice_queue') and typtype in ('e', 'd', 'r') \gexec
select 'grant select on public.users to sluice_source' where to_regclass('public.users') is not null \gexec

commit;
