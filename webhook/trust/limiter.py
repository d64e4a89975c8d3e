"""Rate limiter of the calls to an endpoint: token buckets, and the pauses that SWR requests."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from webhook.backoff import Backoff
from webhook.deadlines import Deadline
from webhook.errors import Fault, Throttled

BURST_SECONDS: Final = 4.0
"""Seconds of calls that a bucket holds: 200 calls at 50 calls per second."""

BACKGROUND_SHARE: Final = 0.1
"""The share of the calls that is reserved for background lookups."""

SHORTEST_BACK_OFF: Final = 0.5
LONGEST_BACK_OFF: Final = 10.0
"""Seconds without a call after SWR has throttled one, plus up to half of them as jitter."""

LONGEST_BLOCK: Final = 1800.0
"""Seconds without a call after SWR has blocked the account, plus up to a tenth of them as jitter."""

LEAST_LEFT: Final = 0.1
"""The share of its time that a call must have left after waiting; with less it would only time out."""


class RateLimiter:
    """Limits calls to a rate. Requests and background lookups have separate buckets."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Allow ``rate`` calls per second in total."""
        self._clock = clock
        self._sleep = sleep or time.sleep
        self._lock = threading.Lock()
        self._cold = _Bucket(rate * (1 - BACKGROUND_SHARE), clock())
        self._background = _Bucket(rate * BACKGROUND_SHARE, clock())
        self._backoff_until = float("-inf")
        self._blocked_until = float("-inf")
        self._backoff = Backoff(SHORTEST_BACK_OFF, LONGEST_BACK_OFF)

    def reserve(self, *, background: bool = False) -> None:
        """Take a token for a lookup that is chosen afterwards, and wait until it is available."""
        with self._lock:
            delay = self._bucket(background).take(self._clock())
        if delay > 0:
            self._sleep(delay)

    def cancel(self, *, background: bool = False) -> None:
        """Return a reserved token that was not used."""
        with self._lock:
            self._bucket(background).cancel()

    def wait(self, deadline: Deadline, *, background: bool = False, reserved: bool = False) -> None:
        """Wait until a call may be made; with a ``reserved`` token only until the back-off ends.

        Raises:
            Throttled: the call would have too little time left; the token is returned.
        """
        with self._lock:
            now = self._clock()
            back_off = self._backoff_until - now
            longest = deadline.remaining() * (1 - LEAST_LEFT)
            bucket = self._bucket(background)
            if back_off > longest:
                if reserved:
                    bucket.cancel()
                blocked = now < self._blocked_until
                detail = "SWR has blocked the account" if blocked else "SWR requested a pause"
                raise Throttled(detail, retry_after=back_off, fault=Fault.REGISTRY)
            own = 0.0 if reserved else bucket.take(now)
            delay = max(back_off, own)
            if delay > longest:
                bucket.cancel()
                raise Throttled("our own rate limit is exceeded", retry_after=delay, fault=Fault.LOCAL)
        if delay > 0:
            self._sleep(delay)

    def has_token(self, *, background: bool = False) -> bool:
        """Whether a token is available now."""
        with self._lock:
            return self._bucket(background).has_token(self._clock())

    @property
    def is_backing_off(self) -> bool:
        """Whether SWR has requested a pause that has not ended."""
        return self._clock() < self._backoff_until

    @property
    def blocked_for(self) -> float:
        """The seconds for which no call is made because SWR has blocked the account, 0.0 if it has not."""
        return max(0.0, self._blocked_until - self._clock())

    def back_off(self, retry_after: float | None) -> None:
        """Make no calls for ``retry_after`` seconds, or for a doubling pause without it."""
        with self._lock:
            now = self._clock()
            if now < self._backoff_until:
                return
            doubled = self._backoff.fail()
            wanted = doubled if retry_after is None else retry_after
            pause = min(LONGEST_BACK_OFF, max(SHORTEST_BACK_OFF, wanted))
            # Jitter comes after the bound, so that replicas do not resume at the same time.
            self._backoff_until = now + pause * random.uniform(1.0, 1.5)  # noqa: S311 - jitter

    def block(self, seconds: float) -> float:
        """Make no calls because SWR has blocked the account; return for how many seconds.

        Afterwards calls resume without a burst, because SWR blocks an account that calls too often.
        """
        with self._lock:
            now = self._clock()
            if now >= self._blocked_until:
                pause = min(LONGEST_BLOCK, max(SHORTEST_BACK_OFF, seconds))
                self._blocked_until = now + pause * random.uniform(1.0, 1.1)  # noqa: S311 - jitter
                self._backoff_until = max(self._backoff_until, self._blocked_until)
                for bucket in (self._cold, self._background):
                    bucket.empty(self._backoff_until)
            return self._blocked_until - now

    def change_rate(self, rate: float) -> None:
        """Allow ``rate`` calls per second from now on; a pause that SWR requested stays."""
        with self._lock:
            now = self._clock()
            self._cold = _Bucket(rate * (1 - BACKGROUND_SHARE), now)
            self._background = _Bucket(rate * BACKGROUND_SHARE, now)
            if now < self._blocked_until:
                for bucket in (self._cold, self._background):
                    bucket.empty(self._blocked_until)

    def reset_backoff(self) -> None:
        """Reset the doubling of pauses: SWR has accepted a call."""
        self._backoff.reset()

    def _bucket(self, background: bool) -> _Bucket:  # noqa: FBT001 - which of two
        return self._background if background else self._cold


class _Bucket:
    """Token bucket. ``take`` may make the balance negative and returns the delay until the token is there."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._size = max(1.0, rate * BURST_SECONDS)
        self._tokens = self._size
        self._at = now

    def take(self, now: float) -> float:
        """Take one token and return the delay in seconds."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def has_token(self, now: float) -> bool:
        """Whether a token is available now."""
        self._fill(now)
        return self._tokens >= 1

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
            self._at = now

    def empty(self, until: float) -> None:
        """Remove all tokens, and refill from ``until`` on."""
        self._tokens = 0.0
        self._at = until

    def cancel(self) -> None:
        self._tokens += 1
