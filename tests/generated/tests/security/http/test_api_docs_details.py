"""What the API documents say of the template's own routes."""

import re

from tests.security.build_app import assemble
from tests.security.fixtures import MakeClient
from tests.security.http.test_api_docs import openapi


def test_no_response_model_has_a_secret(make_client: MakeClient) -> None:
    schemas = openapi(make_client(build=assemble))["components"]["schemas"]
    telling = [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, shape in schema.get("properties", {}).items()
        if re.search("hash|secret|password", member) and not shape.get("writeOnly") and shape.get("type") == "string"
    ]

    assert telling == []
