"""Rate limiter of the calls to an endpoint: token buckets, and the pauses that SWR requests.

Two lines wait for tokens, and are served in turn: lookups that have not begun, and further calls of lookups
that have. A lookup takes the tokens of its expected calls before it begins. So neither many lookups nor
lookups with many calls keep others from ending (``docs/decisions/0013``).
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
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

_RECHECK: Final = 0.05
"""Maximum seconds until the first one of a line looks again: tokens may have been returned."""

_SHORTEST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 3600.0
"""Seconds between two looks without a deadline."""

_ROUNDING: Final = 1e-6
"""Tokens that may be missing because of rounding."""


class _Line(IntEnum):
    """Who waits for tokens."""

    LOOKUPS = 0
    """Lookups that have not begun."""
    CALLS = 1
    """Further calls of lookups that have begun."""


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

    def reserve(self, calls: int = 1, *, background: bool = False) -> int:
        """Take tokens for a lookup that is chosen afterwards, and wait until they are available.

        Returns their number: at most that of a burst.
        """
        bucket = self._bucket(background)
        calls = min(calls, int(bucket.size))
        self._take_in_line(bucket, _Line.LOOKUPS, calls, float("inf"))
        return calls

    def cancel(self, calls: int = 1, *, background: bool = False) -> None:
        """Return reserved tokens that were not used."""
        with self._lock:
            self._bucket(background).give_back(calls)

    def wait(self, deadline: Deadline, *, background: bool = False, reserved: bool = False) -> None:
        """Wait until a call may be made; with a ``reserved`` token only until the back-off ends.

        Raises:
            Throttled: the call would have too little time left; the token is returned.
        """
        bucket = self._bucket(background)
        until = self._clock() + deadline.remaining() * (1 - LEAST_LEFT)
        if not reserved:
            self._check_back_off(until)
            self._take_in_line(bucket, _Line.CALLS, 1, until)
        try:
            delay = self._check_back_off(until)
        except Throttled:
            self.cancel(background=background)
            raise
        if delay > 0:
            self._sleep(delay)

    def _check_back_off(self, until: float) -> float:
        """Return the seconds until a requested back-off ends.

        Raises:
            Throttled: it ends after ``until`` (monotonic).
        """
        with self._lock:
            now = self._clock()
            delay = self._backoff_until - now
            if self._backoff_until > until:
                blocked = now < self._blocked_until
                detail = "SWR has blocked the account" if blocked else "SWR requested a pause"
                raise Throttled(detail, retry_after=delay, fault=Fault.REGISTRY)
            return delay

    def _take_in_line(self, bucket: _Bucket, line: _Line, calls: int, until: float) -> None:
        """Take tokens when it is this caller's turn.

        Raises:
            Throttled: that would be after ``until`` (monotonic).
        """
        waiter = _Waiter(calls)
        waiting = bucket.lines[line]
        with self._lock:
            _check_delay(bucket.expect_delay(line, calls, self._clock()), until - self._clock())
            waiting.append(waiter)
        try:
            while (delay := self._try_take(bucket, line, waiter)) is None or delay > 0:
                left = until - self._clock()
                _check_delay(delay or 0.0, left)
                if delay is None:
                    waiter.is_first.wait(min(left, _LONGEST_WAIT))
                else:
                    self._sleep(min(max(delay, _SHORTEST_WAIT), _RECHECK))
        finally:
            with self._lock:
                waiting.remove(waiter)
                if waiting:
                    waiting[0].is_first.set()

    def _try_take(self, bucket: _Bucket, line: _Line, waiter: _Waiter) -> float | None:
        """Take the tokens and return 0.0, or the seconds to wait, ``None`` if others come first."""
        with self._lock:
            if bucket.lines[line][0] is not waiter:
                return None
            return bucket.take(line, waiter.calls, self._clock())

    def has_token(self, *, background: bool = False) -> bool:
        """Whether a token is available now that no call waits for."""
        with self._lock:
            return self._bucket(background).expect_delay(_Line.LOOKUPS, 1, self._clock()) <= 0

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


class _Waiter:
    """Waits for a number of tokens, until it is the first one of its line."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.is_first = threading.Event()


class _Bucket:
    """Token bucket with its lines. Its user holds a lock."""

    def __init__(self, rate: float, now: float) -> None:
        self.size = max(1.0, rate * BURST_SECONDS)
        self.lines: tuple[deque[_Waiter], deque[_Waiter]] = (deque(), deque())
        self._rate = rate
        self._tokens = self.size
        self._at = now
        self._next = _Line.LOOKUPS
        """The line whose turn it is."""

    def take(self, line: _Line, calls: int, now: float) -> float:
        """Take tokens for the first one of a line, and return 0.0; otherwise the seconds until it may.

        If it is the turn of the other line, the tokens for the first one there must stay.
        """
        other = self.lines[1 - line]
        left = other[0].calls if other and self._next is not line else 0
        delay = self._delay(calls + left, now)
        if delay <= 0:
            self._tokens -= calls
            self._next = _Line(1 - line)
        return delay

    def expect_delay(self, line: _Line, calls: int, now: float) -> float:
        """Return the seconds until one more caller would get tokens at the end of a line."""
        own, other = self.lines[line], self.lines[1 - line]
        ahead = sum(waiter.calls for waiter in own)
        turns = min(len(own) + 1, len(other))
        return self._delay(calls + ahead + sum(other[index].calls for index in range(turns)), now)

    def give_back(self, calls: int) -> None:
        """Return tokens that were not used."""
        self._tokens += calls

    def empty(self, until: float) -> None:
        """Remove all tokens, and refill from ``until`` on."""
        self._tokens = 0.0
        self._at = until

    def _delay(self, calls: int, now: float) -> float:
        """Return the seconds until so many tokens are available, 0.0 if they are."""
        if now > self._at:
            self._tokens = min(self.size, self._tokens + (now - self._at) * self._rate)
            self._at = now
        missing = calls - self._tokens
        return 0.0 if missing <= _ROUNDING else missing / self._rate + self._at - now


def _check_delay(delay: float, longest: float) -> None:
    if delay > longest:
        raise Throttled("our own rate limit is exceeded", retry_after=delay, fault=Fault.LOCAL)
