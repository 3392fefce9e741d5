"""What features ask to be done with the app that they are installed in, so that no feature is named by another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from app.security.access.policy import Policies

LifeHook = Callable[[FastAPI], Awaitable[None]]
Check = Callable[[FastAPI, Policies], list[str]]
Hint = Callable[[AsyncSession, Policies], Awaitable[list[str]]]


@dataclass
class Hooks:
    """`checks` name what must not be served; `manage doctor` asks for `faults`, which are problems, and for `hints`."""

    at_start: list[LifeHook] = field(default_factory=list)
    at_end: list[LifeHook] = field(default_factory=list)  # in the opposite order: what came first ends last
    checks: list[Check] = field(default_factory=list)
    faults: list[Hint] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)


def hooks_of(app: FastAPI) -> Hooks:
    """The hooks of this app, to be added to by whatever is installed in it."""
    if "hooks" not in app.state:
        app.state.hooks = Hooks()
    return cast(Hooks, app.state.hooks)
