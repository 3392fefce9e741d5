"""Login with a password: throttle, passwords, access tokens, sessions and their OAuth 2.0 routes."""
