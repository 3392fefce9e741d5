"""What a commit tests of a large table, and what waits for the nightly run.

`uv run pytest` takes a part of each table; the run prints what it left out. `EVERY_VARIANT=1 uv run pytest`, which the
nightly workflow runs, takes every row.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar
from zlib import crc32

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


def waiting(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Tests that are left to the nightly run: `nightly` ones, and of `rotating` ones those of other commits.

    Each module begins elsewhere, so that the long tests of several modules do not meet in one commit.
    """
    turns: Counter[Path] = Counter()
    for item in items:
        mark = item.get_closest_marker("rotating")
        turns[item.path] += 1
        begin = _number_of_this_commit() + crc32(item.path.name.encode())
        is_out_of_turn = mark is not None and (begin + turns[item.path]) % mark.args[0]
        if is_out_of_turn or item.get_closest_marker("nightly"):
            yield item


@cache
def _number_of_this_commit() -> int:
    return int(git(ROOT, "rev-parse", "HEAD").strip()[:8], 16)
