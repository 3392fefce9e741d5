"""API keys: format, storage, credential, routes and commands."""
