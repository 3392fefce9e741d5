"""Settings, secrets, tables, problem documents, security events and logging: what every other folder stands on."""
