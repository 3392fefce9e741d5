"""Your fixtures stand here. Ours come with the plugin: `client`, `as_caller()`, `make_client`, `database`."""

pytest_plugins = ["tests.security.fixtures"]
