"""A pseudo-terminal of 80 columns and 24 lines: what is typed into it, and what a person reads on its screen."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

from tests.rendering import outside

COLUMNS, LINES = 80, 24
PATIENCE = 240  # seconds


class Terminal:
    """A program that runs in a pseudo-terminal. Use it as a context manager, so that it ends."""

    def __init__(self, command: str, *arguments: str, cwd: Path, **variables: str) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=2000, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        known = outside() | {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"} | variables
        self._program = pexpect.spawn(
            command, list(arguments), env=known, cwd=str(cwd), dimensions=(LINES, COLUMNS), timeout=PATIENCE
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close(force=True)

    def type(self, keys: str) -> None:
        self._program.send(keys)

    def shows(self, *words: str) -> str:
        """Wait until the screen has one of these words, and return that one. The end of the program is "<end>"."""
        ended = not self.until(lambda: any(word in self.screen() for word in words))
        return "<end>" if ended else next(word for word in words if word in self.screen())

    def until(self, reached: Callable[[], bool]) -> bool:
        """Read until this is so. False where the program ended before."""
        patience = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < patience, f"it never came:\n{self.screen()}"
            if not self._read():
                return reached()
        return True

    def ends(self) -> int:
        """Wait until the program ends. Returns its exit code."""
        while self._read():
            pass
        self._program.close()
        return int(self._program.exitstatus or 0)

    def screen(self) -> str:
        """What the 24 lines show."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def transcript(self) -> str:
        """The same, with what was scrolled away."""
        above = ["".join(line[column].data for column in range(COLUMNS)) for line in self._screen.history.top]
        return "\n".join([*(line.rstrip() for line in above), self.screen()])

    def _read(self) -> bool:
        try:
            self._stream.feed(self._program.read_nonblocking(4096, timeout=0.2))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True


def copier(*arguments: str, cwd: Path) -> Terminal:
    return Terminal(sys.executable, "-m", "copier", *arguments, cwd=cwd)
