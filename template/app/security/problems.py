"""`raise Problem(404)`: an RFC 9457 problem document."""

from app.security.core.problems import Problem as Problem
