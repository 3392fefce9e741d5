"""How long a start takes until the first answer, as a ratio to a bare FastAPI app in the same run.

Run: uv run python benchmarks/start_to_ready.py
"""

import statistics
import sys
import time
from pathlib import Path

from service import migrated, serve

STARTS = 7


def seconds_to_ready(folder: Path, port: int, variables: dict[str, str], app: str) -> float:
    begun = time.perf_counter()
    with serve(folder, port, variables, app):
        return time.perf_counter() - begun


def main() -> int:
    with migrated() as (folder, variables):
        bare = variables | {"PYTHONPATH": str(Path(__file__).resolve().parent)}
        pairs = [
            (
                seconds_to_ready(folder, 18140, variables, "app.main:app"),
                seconds_to_ready(folder, 18150, bare, "bare:app"),
            )
            for _ in range(STARTS)
        ]
    ours, theirs = (statistics.median(pair[index] for pair in pairs) for index in (0, 1))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"start to first answer: {ours:.2f} s, {ratio:.1f} times the {theirs:.2f} s of a bare app")
    return 0


if __name__ == "__main__":
    sys.exit(main())
