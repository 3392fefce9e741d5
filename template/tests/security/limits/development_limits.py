"""The suite calls often and fast, so that only tests about limits meet one."""

VARIABLES = {"RATE_LIMIT": "100000/minute"}
