from app.security.left_out import explain_missing_imports

explain_missing_imports()
