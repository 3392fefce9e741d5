"""A plugin of pytest that hides the private names of FastAPI, Starlette, slowapi and limits from the code of `app/`.

Those packages still use their own. So a protection that needs one of these names fails, as after a release without it.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import fastapi.dependencies.utils
import fastapi.routing
import starlette.middleware.cors
import starlette.middleware.errors
import starlette.testclient

PACKAGES = ("fastapi", "starlette", "slowapi", "limits")
APP = str(Path.cwd() / "app")


def _is_hidden(name: str) -> bool:
    private = name.startswith("_") and not name.startswith("__")
    return (private or name == "middleware_stack") and sys._getframe(2).f_code.co_filename.startswith(APP)


class Module(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        if _is_hidden(name):
            raise AttributeError(f"{name} is private")
        return super().__getattribute__(name)


def _hide_in(kind: Any) -> None:
    found = kind.__getattribute__

    def get(self: Any, name: str) -> Any:
        own = any(name in vars(base) for base in type(self).__mro__ if base.__module__.startswith("app."))
        if _is_hidden(name) and not own:
            raise AttributeError(f"{name} is private")
        return found(self, name)

    kind.__getattribute__ = get


def pytest_configure() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in PACKAGES:
            continue
        for kind in list(vars(module).values()):
            plain = isinstance(kind, type) and kind.__module__ == name and issubclass(kind, _OBJECTS)
            if plain and "__getattribute__" not in vars(kind):
                _hide_in(kind)
        module.__class__ = Module


_OBJECTS = (
    starlette.applications.Starlette,
    starlette.routing.Router,
    starlette.routing.BaseRoute,
    starlette.requests.HTTPConnection,
    starlette.datastructures.State,
    starlette.middleware.cors.CORSMiddleware,
    fastapi.routing.RouteContext,
    fastapi.dependencies.models.Dependant,
)
