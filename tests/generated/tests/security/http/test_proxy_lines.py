"""The proxy that README.md describes overwrites every header that the service believes."""

import re

from app.security.core.settings import ROOT
from app.security.http.client_address import PROXY_HEADERS


def test_the_lines_for_nginx_overwrite_every_header_that_is_believed() -> None:
    lines = (ROOT / "README.md").read_text().split("```nginx\n", 1)[1].split("```", 1)[0]
    overwritten = {name.lower() for name in re.findall(r"proxy_set_header (\S+) ", lines)}

    assert overwritten == {*PROXY_HEADERS, "x-request-id", "host"}
