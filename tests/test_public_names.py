"""The template's code uses public names of other packages alone, so that their next release cannot switch it off."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rendering import Project

APP = Path(__file__).parents[1] / "template/app"
PLUGIN = Path(__file__).with_name("absent_names.py")
PROTECTIONS = [
    f"tests/security/{name}"
    for name in (
        "access/test_access.py",
        "access/test_route_policy.py",
        "admission/test_json_bodies.py",
        "admission/test_request_guard.py",
    )
]
MODULES = sorted(APP.rglob("*.py"))
INTERNAL = {"middleware_stack", "cell_contents", "__closure__", "cr_frame", "gi_frame"}
OWN = {"self", "cls"}
DOCUMENTED = {"_mapping"}  # SQLAlchemy underscores it, as _asdict of named tuples, to leave columns their names


def private_names(code: str) -> Iterator[str]:
    """Each place where this code uses a name that another package keeps to itself."""
    tree = ast.parse(code)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    defined |= {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    assigned = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OWN
        if isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(_is_private(name) for name in names) and not (node.module or "").startswith("app."):
                yield f"line {node.lineno}: from {node.module} import {', '.join(alias.name for alias in node.names)}"
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in OWN and node.attr in defined | assigned
            surgery = node.attr == "__class__" and isinstance(node.ctx, ast.Store)
            if node.attr in INTERNAL or surgery or (_is_private(node.attr) and not own):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and (_is_private(str(name.value)) or name.value in INTERNAL):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(APP)) for path in MODULES])
def test_no_module_uses_a_private_name_of_another_package(path: Path) -> None:
    assert list(private_names(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "from starlette._utils import get_route_path",
        "from fastapi.routing import _IncludedRouter",
        "context._effective_route",
        "self._Limiter__marked_for_limiting",
        "router.middleware_stack = look_up",
        "request.__class__ = StrictRequest",
        "cell.cell_contents",
        'getattr(route, "_base_app", route.app)',
    ],
)
def test_a_private_name_is_found(code: str) -> None:
    assert len(list(private_names(code))) == 1


def test_an_own_private_name_is_none_of_another_package() -> None:
    code = "class A:\n    def _own(self):\n        self._size = 1\n        return self._own, self._size"

    assert list(private_names(code)) == []


def test_without_private_names_the_protections_hold(project: Callable[..., Project]) -> None:
    made = project()
    made.write("absent_names.py", PLUGIN.read_text())

    made.must("python", "-m", "pytest", "-q", "-p", "absent_names", *PROTECTIONS, PYTHONPATH=str(made.path))


def test_a_protection_that_needs_a_private_name_fails_without_it(project: Callable[..., Project]) -> None:
    made = project()
    made.write("absent_names.py", PLUGIN.read_text())
    made.replace(
        "app/security/compose.py",
        "    app.add_middleware(identity",
        "    app.router._low_priority_routes\n    app.add_middleware(identity",
    )
    done = made.run("python", "-m", "pytest", "-q", "-p", "absent_names", PROTECTIONS[0], PYTHONPATH=str(made.path))

    assert "_low_priority_routes is private" in done.stdout
