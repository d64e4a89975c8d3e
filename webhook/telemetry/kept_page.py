"""A page that is rendered for each reader, up to a rate; beyond it, the last one is returned.

Every client may read the metrics, and rendering takes a millisecond or two in which no review is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST: Final = 50
"""Pages that are rendered without a limit of the rate."""

PER_SECOND: Final = 20.0
"""Pages that are rendered per second after that; a page is at most a twentieth of a second old."""


class KeptPage:
    """Renders a page within an allowance, and returns the last one beyond it."""

    def __init__(self, make: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """Render by ``make``, which must not wait; ``clock`` is in monotonic seconds."""
        self._make = make
        self._clock = clock
        self._page = b""
        self._allowed = float(BURST)
        self._at = clock()

    def read(self) -> bytes:
        """Return the page."""
        now = self._clock()
        self._allowed = min(self._allowed + (now - self._at) * PER_SECOND, float(BURST))
        self._at = now
        if self._allowed >= 1:
            self._page = self._make()
            self._allowed -= 1
        return self._page
