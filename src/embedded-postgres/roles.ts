// Two roles without special rights may log in to the embedded PostgreSQL. Before each start, the cluster's superuser, who
// cannot log in, creates them or gives them new passwords.
import { randomBytes } from "node:crypto"
import { Effect } from "effect"
import { inSingleUserMode, type Cluster } from "./cluster-files.ts"

/** The passwords of the two roles, valid until the next start. */
interface Passwords {
  /** The password of `sluice`, which owns what it creates and what earlier versions created, including Sluice's own schemas. */
  readonly sluice: string
  /**
   * The password of `sluice_source`, which reads what `sluice` creates outside Sluice's own schemas, and what it is
   * granted.
   */
  readonly source: string
}

/** Renames the superuser, which earlier versions used under the name `sluice`. A role can only be renamed by another one. */
const renameSuperuser = `
do $$
begin
  if (select rolname from pg_roles where oid = 10) <> 'sluice' then return; end if;
  create role sluice_upgrade superuser;
  set session authorization sluice_upgrade;
  alter role sluice rename to sluice_admin;
  set session authorization sluice_admin;
  drop role sluice_upgrade;
end $$;`

const makeRoles = `
do $$
declare
  made record;
begin
  if to_regrole('sluice') is null then create role sluice; end if;
  create schema if not exists sluice authorization sluice;
  create schema if not exists sluice_queue authorization sluice;
  grant connect, create, temporary on database sluice to sluice;
  grant usage, create on schema public to sluice;
  if to_regrole('sluice_source') is not null then return; end if;

  create role sluice_source;
  alter default privileges for role sluice grant usage on schemas to sluice_source;
  alter default privileges for role sluice grant select on tables to sluice_source;
  -- What exists already is granted once, so that a privilege that is revoked later stays revoked.
  for made in select nspname as name from pg_namespace where nspname !~ '^pg_|^information_schema$|^sluice(_queue)?$' loop
    execute format('grant usage on schema %I to sluice_source', made.name);
    execute format('grant select on all tables in schema %I to sluice_source', made.name);
  end loop;
end $$;`

/** Makes `sluice` the owner of what the superuser owns outside the system's schemas, apart from members of extensions. */
const handOver = `
do $$
declare
  command text;
begin
  for command in
    with schemas as (
      select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    ),
    owned (kind, catalog, oid, name) as (
      select 'schema', 'pg_namespace'::regclass, n.oid, quote_ident(nspname) from pg_namespace n
      where nspowner = 10 and n.oid in (select oid from schemas) and nspname <> 'public'
      union all
      select case relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view'
          when 'f' then 'foreign table' when 'c' then 'type' else 'table' end,
        'pg_class'::regclass, c.oid, format('%I.%I', nspname, relname)
      from pg_class c join schemas n on n.oid = relnamespace
      where relowner = 10 and relkind in ('r', 'p', 'S', 'v', 'm', 'f', 'c')
        -- A sequence of a column follows its table.
        and not (relkind = 'S' and exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype in ('a', 'i')
          and refclassid = 'pg_class'::regclass))
      union all
      select 'routine', 'pg_proc'::regclass, p.oid, p.oid::regprocedure::text
      from pg_proc p join schemas n on n.oid = pronamespace where proowner = 10
      union all
      select 'type', 'pg_type'::regclass, t.oid, format('%I.%I', nspname, typname)
      from pg_type t join schemas n on n.oid = typnamespace
      where typowner = 10 and typtype in ('e', 'd', 'r')
    )
    select format('alter %s %s owner to sluice', kind, name) from owned o
    where not exists (select from pg_depend d where d.classid = o.catalog and d.objid = o.oid and d.deptype = 'e')
  loop
    execute command;
  end loop;
end $$;`

const ATTRIBUTES = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls login"

/** Creates the two roles or brings them up to date, in one transaction. */
export const prepareRoles = (cluster: Cluster) => {
  const passwords: Passwords = { sluice: randomBytes(24).toString("hex"), source: randomBytes(24).toString("hex") }
  const commands = [
    "begin;",
    renameSuperuser,
    "alter role sluice_admin password null;",
    makeRoles,
    handOver,
    `alter role sluice ${ATTRIBUTES} password '${passwords.sluice}';`,
    `alter role sluice_source ${ATTRIBUTES} password '${passwords.source}';`,
    "revoke all on schema sluice, sluice_queue from sluice_source;",
    "commit;"
  ]
  // A command ends at a blank line, so it must not contain one.
  const sql = commands.map((command) => command.trim().replaceAll(/\n\s*\n/g, "\n")).join("\n\n")
  return Effect.as(inSingleUserMode(cluster, "sluice", sql), passwords)
}
