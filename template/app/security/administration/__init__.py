"""People over HTTP and at the terminal: invitations, sessions, roles, pruning."""
