"""One line instead of a trace, where your code imports a protection that this project's answers leave out."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# Which answer brings which module; any of these may be missing, and nothing else.
_BROUGHT_BY = [
    # {% for module, answer in brought_by.items() %}
    ("{{= module }}", "{{= answer }}"),
    # {% endfor %}
]
ANSWERS = dict(_BROUGHT_BY)


class _LeftOut:
    """Asked last by the import system, so only for what is not there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raises: SystemExit 78, for a module that an answer would bring."""
        package, _, module = name.rpartition(".")
        if package != __package__ or module not in ANSWERS:
            return None
        from app.security.settings import refuse

        update = f"uvx copier update --data {ANSWERS[module]}"
        refuse([f"{_importer()} imports {name}, which is left out here; it comes with: {update}"])


def _importer() -> str:
    """File and line of the import statement."""
    frame = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename == __file__ or "importlib" in frame.f_code.co_filename):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{shown}, line {frame.f_lineno}"


def explain_missing_imports() -> None:
    """From now on; more than once changes nothing."""
    if _LeftOut not in sys.meta_path:
        sys.meta_path.append(_LeftOut)
