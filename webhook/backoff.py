"""Exponential back-off: pauses between failed attempts."""

from __future__ import annotations

import random
from typing import Final

JITTER: Final = (0.75, 1.0)


class Backoff:
    """A pause that doubles with each failure in a row, up to a maximum."""

    def __init__(self, first: float, longest: float) -> None:
        """Begin with ``first`` seconds and stay at ``longest``."""
        self._first = first
        self._longest = longest
        self._pause = 0.0

    def fail(self) -> float:
        """Return the seconds to wait after one more failure."""
        self._pause = min(self._longest, max(self._first, self._pause * 2))
        return self._pause

    def reset(self) -> None:
        """Begin again with the first pause: an attempt succeeded."""
        self._pause = 0.0


def jittered(seconds: float) -> float:
    """Return up to a quarter less, so that replicas do not act at the same time."""
    return seconds * random.uniform(*JITTER)  # noqa: S311 - jitter
