"""One production set-up for the tests that leave it as it was."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.production.processes import PROGRAMS, folder_for_servers
from tests.production.service import Production
from tests.rendering import Template
from tests.variants import ALL
from tests.waf_engine import DEBIAN, UNICODE

NEEDED = ("redis-server", "nginx", "psql", "openssl")


@pytest.fixture(scope="session")
def installed(in_ci: bool) -> None:
    missing = [program for program in NEEDED if shutil.which(program) is None]
    missing += [] if PROGRAMS else ["postgresql"]
    missing += [] if DEBIAN.rules.is_dir() and UNICODE.is_file() else ["modsecurity-crs, libnginx-mod-http-modsecurity"]
    if missing:
        (pytest.fail if in_ci else pytest.skip)(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="session")
def production(installed: None, runnable: Template) -> Iterator[Production]:
    """Two instances with two workers each. Leave it as it was."""
    with folder_for_servers() as folder:
        project = runnable.copy_of(runnable.render(**ALL), runnable.scratch / "production")
        with Production(project, folder) as one:
            attack = {"title": "<script>alert(1)</script>"}
            assert one.program().status("POST", "/notes", json=attack) == 403, "the firewall is off"
            yield one


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """What a fault led to, for the table in docs/faults.md."""
    return lambda text: request.node.user_properties.append(("seen", text))
