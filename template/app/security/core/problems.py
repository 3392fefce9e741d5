"""Problem documents (RFC 9457): the form of every error response."""

from http.client import responses
from typing import Any

from starlette.exceptions import HTTPException

POLICY_VIOLATION, INTERNAL_ERROR = 1008, 1011  # close codes of WebSockets: RFC 6455 section 7.4.1


class Problem(HTTPException):
    """An error response. `slug` is its type; `members` are added to the document.

    It is an HTTPException, so that a mounted app responds with the same status and headers.
    """

    media_type = "application/problem+json"

    def __init__(
        self,
        status: int,
        slug: str = "about:blank",
        detail: str | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, detail or responses.get(status, "Error"), headers)
        self.slug = slug
        self.members = members


def conflict(why: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer 409, for the OpenAPI document."""
    return {409: {"description": why}}


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """The members of RFC 9457, section 3.1; `instance` is what to search the log for."""
    return {
        "type": problem.slug,
        "title": responses.get(problem.status_code, "Error"),
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": f"urn:request:{request_id}",
        **problem.members,
    }
