"""What `manage doctor` finds in the checkout: imports of packages that are gone, and a template that no bot reaches."""

from pathlib import Path

import pytest

from app.security import conflicts
from tests.security.terminal import Manage


@pytest.fixture(name="folder")
def project_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(conflicts, "ROOT", tmp_path)
    (tmp_path / "app").mkdir()
    return tmp_path


def fail() -> None:
    raise ModuleNotFoundError("No module named 'gone'")


def test_each_import_of_a_package_that_is_not_installed_is_named_with_its_command(folder: Path, manage: Manage) -> None:
    (folder / "app/orders.py").write_text("import os\n\nimport gone.deep\nfrom app import gone_too\nimport typer\n")
    (folder / "app/stock.py").write_text("from also_gone import x\nfrom . import y\n")
    (folder / "app/optional.py").write_text("try:\n    import maybe\nexcept ImportError:\n    maybe = None\n")
    (folder / "scripts.py").write_text("import unrelated\n")

    result = manage("doctor", load=fail)

    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if "which is not installed" in line] == [
        "Problem: app/orders.py imports gone, which is not installed: uv add gone",
        "Problem: app/stock.py imports also_gone, which is not installed: uv add also_gone",
    ]


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
