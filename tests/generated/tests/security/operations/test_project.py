"""What `manage doctor` finds in the checkout: an import of a missing package, and a template that no bot reaches."""

from pathlib import Path
from runpy import run_path

import pytest

from app.security.operations import doctor
from tests.security.terminal import Manage


@pytest.fixture(name="folder")
def project_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    (tmp_path / "app").mkdir()
    return tmp_path


@pytest.mark.parametrize("module", ["gone", "gone.deep"])
def test_the_import_of_a_package_that_is_not_installed_is_named_with_its_command(
    folder: Path, manage: Manage, module: str
) -> None:
    (folder / "app/orders.py").write_text(f"import os\n\nimport {module}\n")

    result = manage("doctor", load=lambda: run_path(str(folder / "app/orders.py")))

    assert result.exit_code == 1
    assert "Problem: app/orders.py imports gone, which is not installed: uv add gone" in result.stdout.splitlines()


def test_a_missing_module_of_this_project_is_no_package(folder: Path, manage: Manage) -> None:
    (folder / "app/orders.py").write_text("import app.gone\n")

    result = manage("doctor", load=lambda: run_path(str(folder / "app/orders.py")))

    assert "Problem: ModuleNotFoundError: No module named 'app.gone'" in result.stdout


@pytest.mark.parametrize("address", ["/home/me/template", "../template", "'C:/template'", "file:///srv/template"])
def test_a_template_in_a_folder_of_one_machine_is_named(folder: Path, manage: Manage, address: str) -> None:
    (folder / ".copier-answers.yml").write_text(f"_commit: v0.2.0\n_src_path: {address}\n")

    result = manage("doctor")

    assert result.exit_code == 0
    address = address.strip("'")
    assert f"its template is a folder of this machine, {address}. Write the address" in result.stdout


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/t.git",
        "gh:owner/t",
        "gl:owner/t",
        "git@example.com:owner/t.git",
        "git+https://example.com/t",
    ],
)
def test_a_template_that_a_bot_reaches_is_not_mentioned(folder: Path, manage: Manage, address: str) -> None:
    (folder / ".copier-answers.yml").write_text(f"_commit: v0.2.0\n_src_path: {address}\n")

    assert "template" not in manage("doctor").stdout
