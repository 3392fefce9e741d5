from app.security import tables  # noqa: F401  registers our tables
from app.security.migrations import run_security_chain

run_security_chain()
