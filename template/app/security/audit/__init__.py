"""The tamper-evident audit log: chain, writer, verification, commands and routes."""
