"""Admission control: request shape, body size, media type, concurrency and deadlines."""
