"""Your fixtures stand here. Ours come with the plugin: `client`, `as_person(role=…)`, `make_client`, `database`."""

pytest_plugins = ["tests.security.fixtures"]
