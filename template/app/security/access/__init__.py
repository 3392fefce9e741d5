"""Who may call what: route policies, the authenticated caller, accounts and roles."""
