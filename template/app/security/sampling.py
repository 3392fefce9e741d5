"""Events that somebody could cause without end are written once a minute for each name."""

import time
from collections import OrderedDict

EVERY_SECONDS = 60
REMEMBERED = 1000


class OnceAMinute:
    def __init__(self) -> None:
        self._written: OrderedDict[str, float] = OrderedDict()

    def is_due(self, name: str) -> bool:
        """Whether nothing was written under this name in the last minute; it counts as written from now on."""
        now = time.monotonic()
        if now - self._written.get(name, -EVERY_SECONDS) < EVERY_SECONDS:
            return False
        self._written[name] = now
        self._written.move_to_end(name)
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)
        return True
