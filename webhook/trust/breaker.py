"""Circuit breaker: calls to an endpoint that does not respond are rejected, except for probes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from webhook.backoff import Backoff

FAILURES_TO_OPEN: Final = 8
"""Failures in a row; a single tag that SWR fails on is not an outage."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0
"""Seconds between probes, doubling from the first to the longest, with a jitter of 50 %."""


class BreakerState(StrEnum):
    """Whether calls are allowed."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Counts failures in a row."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Close the breaker; ``clock`` is in monotonic seconds, ``jitter`` returns 0 to 1."""
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._open_until = 0.0
        self._probe_ends = 0.0
        self.state = BreakerState.CLOSED

    def admit(self, seconds: float) -> bool:
        """Return whether a call that takes at most ``seconds`` may be made now.

        While half open, one call at a time is allowed as a probe. A probe whose outcome is not reported
        ends after its ``seconds``.
        """
        with self._lock:
            now = self._clock()
            if self.state is BreakerState.CLOSED:
                return True
            if self.state is BreakerState.OPEN and now < self._open_until:
                return False
            if self.state is BreakerState.HALF_OPEN and now < self._probe_ends:
                return False
            self.state = BreakerState.HALF_OPEN
            self._probe_ends = now + seconds
            return True

    def succeed(self) -> None:
        """Record that the endpoint responded, with any response."""
        with self._lock:
            self._failures = 0
            self._backoff.reset()
            self.state = BreakerState.CLOSED

    def fail(self) -> None:
        """Record that the endpoint did not respond."""
        with self._lock:
            self._failures += 1
            if self.state is BreakerState.CLOSED and self._failures < FAILURES_TO_OPEN:
                return
            if self.state is BreakerState.OPEN:
                return
            self._open_until = self._clock() + self._backoff.fail() * (0.5 + self._jitter())
            self.state = BreakerState.OPEN

    def release(self) -> None:
        """Record that a call ended without a result about the endpoint: another call may probe."""
        with self._lock:
            self._probe_ends = 0.0
