-- The database, the role that owns the schema, and the role of the running service, which cannot change it.
-- Once, as a superuser: psql --set secrets=FOLDER --file deploy/postgresql/roles.sql
\set ON_ERROR_STOP on
\if :{?secrets}
\else
    \set secrets /run/secrets
\endif
\set owner_password `cat :'secrets'/database_owner_password`
\set password `cat :'secrets'/database_password`

-- Passwords stay out of the server's log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
CREATE ROLE {{= slug | replace('-', '_') }}_owner LOGIN PASSWORD :'owner_password';
-- Below max_connections (100), so that migrations and administrators get in when the service has used all of its own.
CREATE ROLE {{= slug | replace('-', '_') }} LOGIN PASSWORD :'password' CONNECTION LIMIT 80;
CREATE DATABASE {{= slug | replace('-', '_') }} OWNER {{= slug | replace('-', '_') }}_owner;
REVOKE ALL ON DATABASE {{= slug | replace('-', '_') }} FROM PUBLIC;
GRANT CONNECT ON DATABASE {{= slug | replace('-', '_') }} TO {{= slug | replace('-', '_') }};

-- The service sets these itself; here they also hold for whoever else uses the role.
ALTER ROLE {{= slug | replace('-', '_') }} SET statement_timeout = '5s';
ALTER ROLE {{= slug | replace('-', '_') }} SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE {{= slug | replace('-', '_') }} SET lock_timeout = '4s';
-- A migration that waits for a lock makes every query behind it wait, too. It fails instead, and can be run again.
ALTER ROLE {{= slug | replace('-', '_') }}_owner SET lock_timeout = '10s';
ALTER ROLE {{= slug | replace('-', '_') }}_owner SET idle_in_transaction_session_timeout = '10min';

\connect {{= slug | replace('-', '_') }}
ALTER SCHEMA public OWNER TO {{= slug | replace('-', '_') }}_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {{= slug | replace('-', '_') }};
-- Tables of migrations to come.
ALTER DEFAULT PRIVILEGES FOR ROLE {{= slug | replace('-', '_') }}_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {{= slug | replace('-', '_') }};
ALTER DEFAULT PRIVILEGES FOR ROLE {{= slug | replace('-', '_') }}_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO {{= slug | replace('-', '_') }};
