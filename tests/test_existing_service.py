"""docs/how-to/existing-service.md: its table says what a service that was moved unchanged gets to read."""

import re
from collections.abc import Callable

import pytest

from tests.rendering import ROOT, Project
from tests.variants import ALL

GUIDE = (ROOT / "docs/how-to/existing-service.md").read_text()
REFUSALS = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", GUIDE, re.MULTILINE)
LOGIN = """    from typing import Annotated

    from fastapi import Depends
    from fastapi.security import OAuth2PasswordBearer

    @app.get("/products")
    def products(token: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="/token"))]) -> list[str]:
        return []

    secure(app)
"""
CORS = """    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    secure(app)
"""
MOVED = [  # the file, what stands there, and what the service had instead
    ("app/main.py", "    secure(app)\n", LOGIN),
    ("app/main.py", "    secure(app)\n", CORS),
    ("app/main.py", ", **fastapi_options()", ""),
]


@pytest.mark.nightly
@pytest.mark.parametrize(("edit", "refusal"), list(zip(MOVED, REFUSALS, strict=True)), ids=["login", "cors", "app"])
def test_a_service_that_is_moved_as_it_was_reads_what_to_change(
    project: Callable[..., Project], edit: tuple[str, str, str], refusal: str
) -> None:
    service = project(**ALL)
    service.replace(*edit)

    done = service.run("python", "-m", "app.manage", "routes", FASTAPI_ENV="development")

    assert done.returncode == 1
    assert refusal in done.stderr
