"""The conflicts that `copier update` leaves are named, as hooks, CI and `manage doctor` run the check."""

from pathlib import Path

import pytest

from app.security import conflicts
from tests.security.captured_logs import Capture
from tests.security.terminal import Manage

LEFT = "x = 1\n<<<<<<< before updating\nx = 2\n=======\nx = 3\n>>>>>>> after updating\n"


@pytest.fixture(name="folder")
def project_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(conflicts, "ROOT", tmp_path)
    return tmp_path


def check(capfd: Capture, *files: Path) -> tuple[int, list[str]]:
    """The exit code, and the lines before the instructions."""
    code = conflicts.main([str(file) for file in files])
    return code, capfd.readouterr().out.partition("\n\n")[0].splitlines()


def test_this_project_has_no_conflict(capfd: Capture) -> None:
    assert check(capfd) == (0, ["No conflicts."])


def test_both_ends_of_a_conflict_are_named(folder: Path, capfd: Capture) -> None:
    (folder / "app").mkdir()
    (folder / "app/main.py").write_text(LEFT)

    lines = ["app/main.py, line 2: a conflict of an update", "app/main.py, line 6: a conflict of an update"]
    assert check(capfd) == (1, lines)
    assert check(capfd, folder / "app/main.py") == (1, lines)


def test_a_rej_file_is_named_and_a_heading_is_not(folder: Path, capfd: Capture) -> None:
    (folder / "main.py.rej").write_text("@@ -1 +1 @@")
    (folder / "README.md").write_text("Heading\n=======\n\n    <<<<<<< before updating\n")

    assert check(capfd) == (1, ["main.py.rej: changes of an update that could not be applied"])


def test_doctor_names_a_conflict_that_breaks_the_app(folder: Path, manage: Manage) -> None:
    (folder / "api.py").write_text(LEFT)

    result = manage("doctor", load=lambda: compile(LEFT, "api.py", "exec"))

    assert result.exit_code == 1
    assert "Problem: api.py, line 2: a conflict of an update" in result.stdout


def test_doctor_names_a_conflict_that_python_does_not_see(folder: Path, manage: Manage) -> None:
    (folder / "notes.md").write_text(LEFT)

    result = manage("doctor")

    assert result.exit_code == 1
    assert "Problem: notes.md, line 2: a conflict of an update" in result.stdout
