"""The suites of generated projects: the tests that ship, in two tiers, and the tests of our internals.

`test_lived_in.py` runs them after an update, `test_postgres.py` on PostgreSQL.
"""

import resource
import sys
from collections.abc import Callable

import pytest

from tests.nightly import EVERYTHING, rows, sample
from tests.rendering import Environment, Project, Template, install, lay_over
from tests.variants import ALL, EVERY, MAIN, label

pytestmark = pytest.mark.slow

Record = Callable[[str, object], None]
SUITE = ("python", "-m", "pytest", "--quiet")
# CPU seconds of each tier with everything on: the budgets are 15 and 45, and a busy machine takes up to half as much
# again for the one, and up to twice for the other.
CPU_SECONDS = {"not slow": 22, "slow": 90}
IMPORT_SECONDS = 0.55  # of `_slowness` on the machine on which these were measured


def _cpu_seconds() -> float:
    """The CPU time of every process that this worker has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _slowness(service: Project) -> float:
    """How many times longer this machine takes than that one; never less than once.

    Imports wait for memory, as the suites do: a bare loop took the same time where the suites took thrice.
    """
    before = _cpu_seconds()
    service.must("python", "-c", "import alembic, fastapi, sqlalchemy")
    return max(1.0, (_cpu_seconds() - before) / IMPORT_SECONDS)


@pytest.mark.parametrize("tier", CPU_SECONDS)
def test_a_tier_passes_within_its_budget(project: Callable[..., Project], tier: str, record_property: Record) -> None:
    service = project(**ALL)
    slowness = _slowness(service)

    before = _cpu_seconds()
    service.must(*SUITE, "-m", tier, CI="true")
    spent = _cpu_seconds() - before

    record_property("suite", f"{tier}: {spent:.0f} CPU s")
    assert spent < CPU_SECONDS[tier] * slowness


def test_the_tests_of_our_internals_pass(project: Callable[..., Project], record_property: Record) -> None:
    service = project(**ALL)

    before = _cpu_seconds()
    service.must(*SUITE, "-m", "", *lay_over(service), CI="true")

    record_property("suite", f"our internals: {_cpu_seconds() - before:.0f} CPU s")


@pytest.fixture(scope="session")
def oldest(template: Template) -> Environment:
    """Every package that `pyproject.toml` names, in the oldest version that it allows."""
    project = template.copy(template.scratch / "oldest", **ALL)
    return install(project, project.file(".venv"), sys.executable, "--resolution", "lowest-direct")


@pytest.mark.rotating(2)
@pytest.mark.parametrize("tier", rows(["not slow", ""], now=["not slow"]))
def test_the_oldest_dependencies_will_do(project: Callable[..., Project], oldest: Environment, tier: str) -> None:
    service = Project(project(**ALL).path, oldest)
    if not tier:
        lay_over(service)

    service.must(*SUITE, "-m", tier, CI="true")


OTHERS = [name for name in EVERY if name != label(ALL)]


@pytest.mark.parametrize("variant", rows(OTHERS, now=sample([name for name in OTHERS if name in MAIN], one_in=2)))
def test_every_test_passes_where_something_is_off(project: Callable[..., Project], variant: str) -> None:
    service = project(**EVERY[variant])
    if EVERYTHING:  # a commit runs the tests that ship
        lay_over(service)

    service.must(*SUITE, "-m", "", CI="true")
