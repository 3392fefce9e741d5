from app.security.conflicts import explain_conflicts

explain_conflicts()
