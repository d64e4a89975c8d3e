"""A page that is rendered for each request, up to a rate; above it, the last page is returned.

Any client can read the metrics, and rendering blocks the event loop for one or two milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST: Final = 50
"""Pages that can be rendered in a row before the rate limit applies."""

PER_SECOND: Final = 20.0
"""Pages that are rendered per second after that, so that a page is at most a twentieth of a second old."""


class KeptPage:
    """Renders a page within the rate limit, and returns the last page above it."""

    def __init__(self, make: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """Render with ``make``, which must not block; ``clock`` is in monotonic seconds."""
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
