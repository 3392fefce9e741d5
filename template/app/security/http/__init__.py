"""Every response: client address, access log, security headers, CORS, error documents, API docs, WebSockets."""
