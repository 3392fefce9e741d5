"""Rate limits: one for each caller with its settings and counters, and `@limiter.limit` for single routes."""
