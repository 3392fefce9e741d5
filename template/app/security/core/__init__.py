"""Settings, secrets, tables, problem documents, security events and logging: the base of all other folders."""
