"""When an audit is made again: at an interval, sooner after one that was cut short, never in step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

JITTER: Final = 0.1
"""The share of an interval by which a pause is longer or shorter."""

FIRST_RETRY: Final = 60.0
"""Seconds before a round is tried again that did not see everything; doubled up to the interval."""


class Schedule:
    """How long to wait for the next round."""

    def __init__(self, interval: float, draw: Callable[[float, float], float] = random.uniform) -> None:
        """Make a round every ``interval`` seconds; ``draw`` returns a number between two."""
        self._interval = interval
        self._draw = draw
        self._failed = 0

    def next_pause(self, *, complete: bool) -> float:
        """Return the seconds until the next round, given how the last one ended."""
        self._failed = 0 if complete else self._failed + 1
        pause = self._interval
        if self._failed:
            pause = min(pause, FIRST_RETRY * 2 ** min(self._failed - 1, 20))
        return pause * self._draw(1 - JITTER, 1 + JITTER)
