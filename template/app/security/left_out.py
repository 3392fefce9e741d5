"""One line instead of a trace, where your code imports a protection that this project's answers leave out."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# What belongs to which answer; all of it may be missing, and nothing else.
ANSWERS = {
    "jwt=yes": (
        "auth_routes bearer invitations login login_throttle oauth_forms password_grant passwords sessions "
        "throttle_buckets token_answers tokens user_commands users"
    ),
    'roles="user, admin" (with jwt=yes)': "people roles",
    "api_keys=yes": "api_keys key_commands key_format key_store",
    "api_keys=yes (with jwt=yes)": "key_routes",
    "rate_limits=yes": "caller_limits limit_storage rate_limits route_limit_checks route_limits",
    "audit_log=yes": "audit_chain audit_check audit_commands audit_key audit_log",
    'audit_log=yes (with roles="user, admin")': "audit_routes",
    'cors_origins="https://app.example.com"': "cors",
}


class _LeftOut:
    """Asked last by the import system, so only for what is not there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raises: SystemExit 78, for a module that an answer would bring."""
        package, _, module = name.rpartition(".")
        answer = next((answer for answer, modules in ANSWERS.items() if module in modules.split()), None)
        if package != __package__ or answer is None:
            return None
        from app.security.settings import refuse

        refuse([f"{_importer()} imports {name}, which is left out here; it comes with: copier update --data {answer}"])


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
