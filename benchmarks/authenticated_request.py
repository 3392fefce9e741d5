"""What a request by a caller seen in the last seconds costs, as a ratio to a bare FastAPI app in the same run.

Run: uv run python benchmarks/authenticated_request.py   (needs wrk)
"""

import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from service import NAME, PASSWORD, issue_key, log_in, manage, migrated, serve

PAIRS, SECONDS, CONNECTIONS = 5, 4, 16
UNLIMITED = {"RATE_LIMIT": "100000000/minute"}  # counted, never refused


def requests_per_second(port: int, path: str, credential: str = "") -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "X-Forwarded-Proto: https"]
    command += ["-H", credential] if credential else []
    printed = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True)
    if "Non-2xx" in printed.stdout:
        raise RuntimeError(printed.stdout)
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", printed.stdout)[0])


def measure(
    name: str, folder: Path, path: str, port: int, variables: dict[str, str], caller: Callable[[int], str]
) -> None:
    """Print the median ratio of interleaved pairs, and how far they spread."""
    bare = Path(__file__).resolve().parent
    with (
        serve(folder, port, variables),
        serve(folder, port + 1, {**variables, "PYTHONPATH": str(bare)}, "bare:app"),
    ):
        credential, pairs = caller(port), []
        for _ in range(PAIRS):
            ours = requests_per_second(port, path, credential)
            theirs = requests_per_second(port + 1, "/users/me")
            plain = requests_per_second(port + 1, "/router/plain" if "router" in name else "/plain")
            pairs.append((ours / theirs, ours / plain, ours, theirs))
    bare_ratio, plain_ratio, ours, theirs = (statistics.median(pair[index] for pair in pairs) for index in range(4))
    spread = f"{min(pair[0] for pair in pairs):.2f} to {max(pair[0] for pair in pairs):.2f}"
    beside = f"{plain_ratio:.2f} of a route with two empty dependencies"
    print(f"{name:<42} {bare_ratio:.2f} ({spread}), {beside}; {ours:.0f} of {theirs:.0f} requests/s", flush=True)


def main() -> int:
    with migrated(**UNLIMITED) as (folder, variables):
        manage(folder, variables, "users", "create", NAME, typed=f"{PASSWORD}\n{PASSWORD}\n")
        key = issue_key(folder, variables)
        never_kept = variables | {"AUTH_CACHE_SECONDS": "0"}
        measure("a login, GET /users/me", folder, "/users/me", 18080, variables, log_in)
        measure("a login, a route on the app", folder, "/whoami", 18090, variables, log_in)
        measure("a key, a route on the app", folder, "/whoami", 18100, variables, lambda port: key)
        measure("a key, last in an included router", folder, "/notes/by/whoami", 18110, variables, lambda port: key)
        measure("a login, not cached, GET /users/me", folder, "/users/me", 18120, never_kept, log_in)
        measure("a key, never kept, a route on the app", folder, "/whoami", 18130, never_kept, lambda port: key)
    return 0


if __name__ == "__main__":
    sys.exit(main())
