"""What runs in a thread is known to its request: nobody can end a thread, so it runs on when the request is given up.

Where FastAPI would call a `def` endpoint or dependency, it calls one that says when it is done. The place in flight is
given back only then (`in_flight.py`).
"""

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, wraps
from typing import Any

from fastapi.dependencies.models import Dependant

from app.security.core import events


def followed(endpoint: Dependant) -> Dependant:
    """The same endpoint and dependencies; of what runs in a thread, the request knows how long."""
    call: Any = endpoint.call
    known = cache(_known)  # by the function FastAPI knows what it has solved already

    def follow(dependency: Dependant) -> Dependant:
        return replace(dependency, call=known(dependency.call), dependencies=[*map(follow, dependency.dependencies)])

    dependencies = [*map(follow, endpoint.dependencies)]
    # A stream is no such endpoint: FastAPI iterates over it piece by piece.
    in_a_thread = inspect.isfunction(call) and _runs_in_a_thread(call) and not inspect.isgeneratorfunction(call)
    return replace(endpoint, call=_known_to_run(call) if in_a_thread else call, dependencies=dependencies)


def _known(work: Any) -> Any:
    forms = [_function_of(work), _function_of(inspect.unwrap(work))]  # FastAPI looks at both
    if any(map(inspect.isgeneratorfunction, forms)):
        return _known_to_begin(work)
    return _known_to_run(work) if all(map(_runs_in_a_thread, forms)) else work


def _function_of(call: Any) -> Any:
    return call if inspect.isroutine(call) or inspect.isclass(call) else type(call).__call__


def _runs_in_a_thread(function: object) -> bool:
    is_python = inspect.isfunction(function) or inspect.ismethod(function)
    return is_python and not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function)


@contextmanager
def _at_work() -> Iterator[None]:
    context, done = events.current.get(), Future[None]()
    if context is not None:
        context.thread = done
    try:
        yield
    finally:
        done.set_result(None)


def _known_to_run(work: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work, updated=())
    def call(**values: Any) -> Any:
        with _at_work():
            return work(**values)

    return call


def _known_to_begin(generator: Callable[..., Any]) -> Callable[..., Any]:
    """A dependency that yields. Its end is waited for."""

    @wraps(generator, updated=())
    def call(**values: Any) -> Iterator[Any]:
        with ExitStack() as stack:
            with _at_work():
                found = stack.enter_context(contextmanager(generator)(**values))
            yield found

    return call
