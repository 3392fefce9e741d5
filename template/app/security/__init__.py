from app.security.conflicts import explain_conflicts
from app.security.left_out import explain_missing_imports

explain_conflicts()
explain_missing_imports()
