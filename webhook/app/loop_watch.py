"""Measures for how long the event loop was blocked.

It uses the clock and not processor time: an unpatched call that only waits blocks the loop without using the
processor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

INTERVAL: Final = 0.05
"""Seconds between two measurements."""

WINDOW: Final = 60.0
"""Seconds of one window. The longest stall of the current and the previous window is kept, so that a scrape
every minute sees each stall."""

LONG: Final = 1.0
"""Seconds from which a stall is logged, at most once per window."""


class LoopWatch:
    """Measures how late its own waits end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure by ``clock``, in monotonic seconds."""
        self._clock = clock
        self._window_began = clock()
        self._current = self._previous = 0.0
        self._logged = False
        self._blocked = 0.0
        self._due = float("inf")

    def run(self, stop: threading.Event) -> None:
        """Measure until ``stop`` is set; runs in the loop that it measures."""
        while True:
            self._due = self._clock() + INTERVAL
            if stop.wait(INTERVAL):
                return
            self.record(self._clock() - self._due)

    def record(self, seconds: float) -> None:
        """Record that a wait ended ``seconds`` late."""
        self._rotate()
        self._current = max(self._current, seconds)
        self._blocked += max(0.0, seconds)
        self._due = float("inf")
        if seconds >= LONG and not self._logged:
            self._logged = True
            logger.warning(
                "the event loop was blocked: no request was answered", extra={"seconds": round(seconds, 2)}
            )

    @property
    def blocked(self) -> float:
        """The seconds of all stalls since the start.

        The current stall is included: the caller may have been woken by its end before this watch was.
        """
        return self._blocked + max(0.0, self._clock() - self._due)

    @property
    def longest(self) -> float:
        """The longest stall of the last one to two minutes, in seconds."""
        self._rotate()
        return max(self._current, self._previous)

    def _rotate(self) -> None:
        passed = self._clock() - self._window_began
        if passed < WINDOW:
            return
        self._previous = self._current if passed < 2 * WINDOW else 0.0
        self._current = 0.0
        self._logged = False
        self._window_began = self._clock()
