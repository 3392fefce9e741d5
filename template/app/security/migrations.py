"""What `migrations/env.py` runs."""

from app.security.operations.migrations import run_security_chain as run_security_chain
from app.security.operations.migrations import run_your_chain as run_your_chain
