"""uv makes a lock for every set of answers; what nobody needs is not in it, and a release lists what it runs with."""

import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.nightly import rows
from tests.pipelines import run_job
from tests.rendering import Project, Template
from tests.variants import EVERY, MAIN

pytestmark = pytest.mark.rotating(5)
# An advisory without a fix, what only that would need, and a hash that no password of ours ever had.
UNWANTED = {"ecdsa", "rsa", "pyasn1", "bcrypt"}


def locked(project: Project) -> dict[str, str]:
    packages = tomllib.loads(project.read("uv.lock"))["package"]
    return {package["name"]: package["version"] for package in packages}


@pytest.mark.slow
@pytest.mark.parametrize("variant", rows(EVERY, now=MAIN))
def test_it_locks_without_what_nobody_needs(template: Template, tmp_path: Path, variant: str) -> None:
    project = template.copy(tmp_path / "project", **EVERY[variant])

    project.must("uv", "lock", "--quiet")

    found = locked(project)
    assert "fastapi" in found
    assert UNWANTED & found.keys() == set()
    assert ("bandit" in found) == EVERY[variant]["bandit"]


def test_a_lock_without_our_exclusions_would_hold_them(committed: Project, template: Template, tmp_path: Path) -> None:
    project = template.copy_of(committed, tmp_path / "project")
    project.replace("pyproject.toml", 'exclude-dependencies = ["ecdsa", "rsa", "pyasn1"]\n', "")

    project.must("uv", "lock", "--quiet")

    assert UNWANTED - locked(project).keys() == {"bcrypt"}


def test_a_release_is_its_source_and_the_list_of_what_it_runs_with(owned: Project) -> None:
    done = run_job(owned, "release")

    assert done.returncode == 0, done.stderr
    bom = json.loads(owned.read("dist/sbom.cdx.json"))
    listed = {component["name"]: component["version"] for component in bom["components"]}
    assert bom["bomFormat"] == "CycloneDX"
    assert {name: locked(owned)[name] for name in listed} == listed
    assert {"fastapi", "cryptography", "uvicorn"} <= listed.keys()
    assert {"pytest", "bandit", "zizmor"} & listed.keys() == set()
    with tarfile.open(owned.file("dist/source.tar.gz")) as source:
        assert set(owned.must("git", "ls-files").splitlines()) <= set(source.getnames())


def test_every_component_is_listed_with_its_hashes(owned: Project) -> None:
    run_job(owned, "release")

    components = json.loads(owned.read("dist/sbom.cdx.json"))["components"]

    without = [part["name"] for part in components if not part["externalReferences"][0]["hashes"]]
    assert without == []
