"""What a request by a caller seen in the last seconds costs, as a ratio to a bare FastAPI app in the same run.

Run: uv run python benchmarks/authenticated_request.py   (needs wrk)
"""

import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from service import NAME, PASSWORD, access_token, environment, generate, manage, serve

PAIRS, SECONDS, CONNECTIONS = 5, 4, 16


def requests_per_second(port: int, path: str, token: str = "") -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "X-Forwarded-Proto: https"]
    command += ["-H", f"Authorization: Bearer {token}"] if token else []
    printed = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True)
    if "Non-2xx" in printed.stdout:
        raise RuntimeError(printed.stdout)
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", printed.stdout)[0])


def measure(name: str, folder: Path, path: str, port: int, **settings: str) -> None:
    """Print the median ratio of interleaved pairs, and how far they spread."""
    bare = Path(__file__).resolve().parent
    variables = environment(folder, **settings)
    with (
        serve(folder, port, variables),
        serve(folder, port + 1, {**variables, "PYTHONPATH": str(bare)}, "bare:app"),
    ):
        token = access_token(port)
        pairs = []
        for _ in range(PAIRS):
            ours = requests_per_second(port, path, token)
            theirs = requests_per_second(port + 1, "/users/me")
            pairs.append((ours / theirs, ours, theirs))
    ratios = sorted(ratio for ratio, _, _ in pairs)
    ours, theirs = (statistics.median(pair[index] for pair in pairs) for index in (1, 2))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"{name:<42} {statistics.median(ratios):.2f} ({spread}); {ours:.0f} of {theirs:.0f} requests/s")


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bench"
        generate(folder)
        variables = environment(folder)
        manage(folder, variables, "migrate")
        manage(folder, variables, "users", "create", NAME, typed=f"{PASSWORD}\n{PASSWORD}\n")
        measure("seen just now, GET /users/me", folder, "/users/me", 18080)
        measure("seen just now, a route of the owner", folder, "/notes/by/whoami", 18090)
        measure("never kept, GET /users/me", folder, "/users/me", 18100, AUTH_CACHE_SECONDS="0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
