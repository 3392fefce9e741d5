"""What a commit tests of a large table, and what waits for the nightly run.

`uv run pytest` takes a part of each table; the run prints what it left out. `EVERY_VARIANT=1 uv run pytest`, which the
nightly workflow runs, takes every row.
"""

import os
import zlib
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import TypeVar

import pytest

from hooks.prepare_release import git
from tests.rendering import ROOT

T = TypeVar("T")
EVERYTHING = bool(os.environ.get("EVERY_VARIANT"))


def rows(table: Iterable[T], *, now: Collection[T]) -> list[object]:
    """Every row of a table as parameters; those not in `now` carry the `nightly` mark."""
    return [row if row in now else pytest.param(row, marks=pytest.mark.nightly) for row in table]


def some(table: Iterable[T]) -> list[object]:
    """A third of the rows for a commit, the others for the nightly run."""
    every = list(table)
    return rows(every, now=sample(every, one_in=3))


def sample(table: Sequence[T], *, one_in: int) -> list[T]:
    """One row in so many. The commit decides which: a commit is always tested alike, and a few commits try them all."""
    return list(table[_number_of_this_commit() % min(one_in, len(table)) :: one_in])


def waits(item: pytest.Item) -> bool:
    """Whether a test is left to the nightly run: by `nightly`, or by `rotating` with this commit."""
    if mark := item.get_closest_marker("rotating"):
        (parts,) = mark.args
        if (_number_of_this_commit() + zlib.crc32(item.nodeid.encode())) % parts:
            return True
    return item.get_closest_marker("nightly") is not None


@cache
def _number_of_this_commit() -> int:
    return int(git(ROOT, "rev-parse", "HEAD").strip()[:8], 16)
