"""What a request by a caller seen in the last seconds costs, as a ratio to a bare FastAPI app in the same run.

Run: uv run python benchmarks/authenticated_request.py   (needs wrk)
It writes results.json, from which tests/test_pictures.py draws the plot of README.md.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from service import NAME, PASSWORD, issue_key, log_in, manage, migrated, serve

PAIRS, SECONDS, CONNECTIONS = 15, 1, 16
RESULTS = Path(__file__).with_name("results.json")
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
) -> dict[str, object]:
    """The median ratio of interleaved pairs, and how far they spread; printed, too."""
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
    result = {
        "request": name,
        "cached": variables.get("AUTH_CACHE_SECONDS") != "0",
        "of_bare": round(bare_ratio, 2),
        "lowest": round(min(pair[0] for pair in pairs), 2),
        "highest": round(max(pair[0] for pair in pairs), 2),
        "of_two_dependencies": round(plain_ratio, 2),
        "per_second": round(ours),
        "per_second_bare": round(theirs),
    }
    print(json.dumps(result), flush=True)
    return result


def main() -> int:
    with migrated(**UNLIMITED) as (folder, variables):
        manage(folder, variables, "users", "create", NAME, typed=f"{PASSWORD}\n{PASSWORD}\n")
        key = issue_key(folder, variables)
        never_kept = variables | {"AUTH_CACHE_SECONDS": "0"}
        results = [
            measure("a login, GET /users/me", folder, "/users/me", 18080, variables, log_in),
            measure("a login, a route on the app", folder, "/whoami", 18090, variables, log_in),
            measure("a key, a route on the app", folder, "/whoami", 18100, variables, lambda port: key),
            measure(
                "a key, last in an included router", folder, "/notes/by/whoami", 18110, variables, lambda port: key
            ),
            measure("a login, not cached, GET /users/me", folder, "/users/me", 18120, never_kept, log_in),
            measure("a key, not cached, a route on the app", folder, "/whoami", 18130, never_kept, lambda port: key),
        ]
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "pairs": PAIRS, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
