"""Form bodies and errors of the OAuth 2.0 endpoints (RFC 6749 sections 3.2, 5.1 and 5.2)."""

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from app.security.admission.request_guard import accepts
from app.security.core.problems import Problem

FORM = "application/x-www-form-urlencoded"
MAXIMUM_FIELDS = 20
MAXIMUM_BYTES = 64 * 1024

form_body = accepts(FORM, max_bytes=MAXIMUM_BYTES)


class OAuthError(Problem):
    """An error of the token endpoint: `error` and `error_description`, beside the members of every problem."""

    media_type = "application/json"

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(status, detail=description, error=error, error_description=description)


async def _form(request: Request) -> dict[str, str]:
    """The parameters sent; an empty one counts as left out, a repeated one is refused (RFC 6749 section 3.2)."""
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, max_num_fields=MAXIMUM_FIELDS, errors="strict", keep_blank_values=True)
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise OAuthError("invalid_request", "A parameter is repeated.")
    return {name: value for name, value in pairs if value}


Form = Annotated[dict[str, str], Depends(_form)]


def required(form: dict[str, str], name: str) -> str:
    """Raises: OAuthError invalid_request."""
    if name not in form:
        raise OAuthError("invalid_request", f"The parameter {name} is missing.")
    return form[name]


def documented(*fields: str) -> dict[str, Any]:
    """What OpenAPI says of a form body, as `openapi_extra`."""
    properties = {name: {"type": "string", "maxLength": MAXIMUM_BYTES} for name in fields}
    return {"requestBody": {"content": {FORM: {"schema": {"type": "object", "properties": properties}}}}}
