"""The schedule of repeated audits: a jittered interval, and earlier retries after a partial audit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from webhook.backoff import Backoff

JITTER: Final = 0.1
"""The fraction of an interval by which a pause may be longer or shorter."""

FIRST_RETRY: Final = 60.0
"""Seconds until a partial round is retried; doubled after each one, up to the interval."""


class Schedule:
    """Determines the pause before the next round."""

    def __init__(self, interval: float, draw: Callable[[float, float], float] = random.uniform) -> None:
        """Schedule a round every ``interval`` seconds; ``draw`` returns a random number between two."""
        self._interval = interval
        self._draw = draw
        self._backoff = Backoff(FIRST_RETRY, interval)

    def next_pause(self, *, complete: bool) -> float:
        """Return the seconds until the next round; ``complete`` says whether the last one was."""
        if complete:
            self._backoff.reset()
        pause = self._interval if complete else self._backoff.fail()
        return pause * self._draw(1 - JITTER, 1 + JITTER)
