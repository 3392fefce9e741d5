-- What the service's role loses of the tables, as their owner and after each `manage migrate`:
-- deploy/postgresql/grants.sh FOLDER/migration_database_url
\set ON_ERROR_STOP on
-- Written by migrations only.
REVOKE INSERT, UPDATE, DELETE ON alembic_version, alembic_version_security FROM {{= slug | replace('-', '_') }};
# {% if features.audit_log.enabled %}
-- Tamper-evident: rows are inserted and read.
REVOKE UPDATE, DELETE ON audit_events FROM {{= slug | replace('-', '_') }};
# {% endif %}
