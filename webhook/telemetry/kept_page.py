"""A page that is made anew for whoever reads it now and then, and kept for whoever never stops.

Anybody may read the metrics, and a page takes longer to make than to ask for: a millisecond or
two in which no review is answered, for 34 bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST: Final = 50
"""Pages that are made one after the other: each reader gets what is true now, however many come together."""

PER_SECOND: Final = 20.0
"""Pages that are made in a second where that does not end; each is at most a twentieth of a second old."""


class KeptPage:
    """Makes a page, within an allowance; returns the last one where that is used up."""

    def __init__(self, make: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """Keep what ``make`` returns, which must not wait; ``clock`` is in monotonic seconds."""
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
            self._allowed -= 1  # what was not made costs nothing
        return self._page
