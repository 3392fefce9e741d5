"""A login flood: latency of /health/live, and memory, while 32 clients guess passwords.

Each guess comes from an address and for a name of its own, so that no throttle answers in the place of the hashing.
Run: uv run python benchmarks/login_flood.py
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from service import migrated, serve

PORT, CLIENTS, QUIET_SECONDS, FLOOD_SECONDS, PROBES_A_SECOND = 18200, 32, 10, 20, 31
numbers = itertools.count(1)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
    await reader.readexactly(length)
    return int(head.split()[1])


def guess() -> bytes:
    number = next(numbers)
    body = f"grant_type=password&username=nobody{number}@example.com&password=not-the-right-one-{number}".encode()
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return (
        f"POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def guess_until(end: float, answers: dict[int, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    while time.monotonic() < end:
        status = await ask(reader, writer, guess())
        answers[status] = answers.get(status, 0) + 1
    writer.close()


async def probe_until(end: float) -> list[float]:
    """Milliseconds of each answer, at a steady rate, however long one takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    found = []
    while time.monotonic() < end:
        started = time.perf_counter()
        await ask(reader, writer, b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        found.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(max(0, 1 / PROBES_A_SECOND - found[-1] / 1000))
    writer.close()
    return sorted(found)


def p99(times: list[float]) -> float:
    return times[int(len(times) * 0.99) - 1]


def peak_memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


async def measure(pid: int) -> None:
    await probe_until(time.monotonic() + 2)  # warm
    quiet = await probe_until(time.monotonic() + QUIET_SECONDS)
    answers: dict[int, int] = {}
    end = time.monotonic() + FLOOD_SECONDS
    flooded, *_ = await asyncio.gather(probe_until(end), *(guess_until(end, answers) for _ in range(CLIENTS)))
    print(
        f"/health/live p99: quiet {p99(quiet):.1f} ms, flooded {p99(flooded):.1f} ms: {p99(flooded) / p99(quiet):.1f} x"
    )
    print(f"guesses a second: {sum(answers.values()) / FLOOD_SECONDS:.0f}, answers {answers}")
    print(f"peak memory: {peak_memory_mib(pid):.0f} MiB")


def main() -> int:
    with migrated() as (folder, variables), serve(folder, PORT, variables) as pid:
        asyncio.run(measure(pid))
    return 0


if __name__ == "__main__":
    sys.exit(main())
